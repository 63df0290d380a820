namespace Sample
{
    public static class Retry
    {
        /// <summary>
        /// Calls an <see cref="System.Action"/> again until it stops failing.
        /// </summary>
        /// <param name="times">How often at most.</param>
        public static void Run(System.Action action, int times)
        {
            while (true)
            {
                try { action(); return; }
                catch when (--times > 0) { }
            }
        }
    }
}

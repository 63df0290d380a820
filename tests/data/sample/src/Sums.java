class Sums {
  /**
   * Adds up all {@code int} values of an array.
   *
   * @return the sum
   */
  static long sum(int[] values) {
    long total = 0;
    for (int v : values) total += v;
    return total;
  }
}

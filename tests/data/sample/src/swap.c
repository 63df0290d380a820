/**
 * \brief Swap the contents of two buffers
 * \param n length
 */
void swap(char *a, char *b, int n)
{
    while (n--) {
        char t = a[n]; a[n] = b[n]; b[n] = t;
    }
}

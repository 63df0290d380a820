namespace sample {

/// Multiplies two square matrices held row by row.
/// \tparam T a number
/// \param n rows of each
template <typename T>
void multiply(const T* a, const T* b, T* c, int n) {
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) c[i * n + j] = dot(a + i * n, b + j, n);
}

}  // namespace sample

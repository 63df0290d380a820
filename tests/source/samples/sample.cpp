#pragma once
#include <x>
#define LIMIT 3

namespace a::b {

/// A foo.
/// It foos.
template <typename T>
class Foo : public Bar {
 public:
  Foo() = default;
  ~Foo() {}
  /** Sends. */
  void send(int a) const { x(); }
  int declared(int);
  bool operator==(const Foo& o) const { return true; }
  struct In { int x; };

 private:
  int x_;
};

void Foo::bar() {}
template <class T> T max(T a) { return a; }
int a::Foo<T>::baz() const { return 1; }
enum class Color { Red };
using Alias = int;
constexpr int kLimit = 3;
auto square = [](int a) { return a * a; };

}  // namespace a::b

extern "C" {
int g(void) { return 1; }
}
Foo::Foo() : x_(1) {}
concept C = true;

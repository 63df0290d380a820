package a.b;

import x.Y;

/** A class. */
@Deprecated
public class Foo<T> extends Bar {
  private static final int LIMIT = 3, MORE = 4;
  int field;

  /**
   * Makes one.
   *
   * @param a how
   */
  public Foo(int a) {}

  // Sends.
  // At once.
  @Override
  public void send(int a) {
    x();
  }

  interface In {
    void f();
  }

  enum E {
    A,
    B;

    int g() {
      return 1;
    }
  }

  record R(int a) {}
}

@interface Ann {
  int v() default 1;
}

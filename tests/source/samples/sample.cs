using System;
namespace A.B {
  /// <summary>Doc.</summary>
  [Serializable]
  public class Foo : Bar {
    public const int Limit = 3;
    public int X { get; set; }
    public Foo() {}
    /// <summary>Send.</summary>
    public async Task Send(int a) => await x;
    event Action E;
    int this[int i] => 1;
    public static Foo operator +(Foo a, Foo b) => a;
    struct S { }
  }
  interface I { void F(); }
  enum E { A }
  record R(int A);
  delegate void D();
}

import X
/// Doc.
@objc public class Foo: Bar {
  let x = 1
  /// init
  init(a: Int) { }
  /// Send.
  func send(_ a: Int) -> Int { 1 }
  var y: Int { 1 }
  deinit {}
  subscript(i: Int) -> Int { 1 }
}
struct S { func f() {} }
enum E { case a }
protocol P { func g() }
extension Foo: P { func h() {} }
func top() {}
typealias A = Int
actor Ac { func z() {} }
let limit = 3

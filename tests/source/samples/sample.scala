package a.b
import x._
/** Doc. */
class Foo(a: Int) extends Bar {
  val x = 1
  /** Send. */
  def send(a: Int): Unit = { }
  private lazy val y = 2
  type T = Int
}
object Foo { def make = 1 }
trait T { def f: Int }
case class D(a: Int)
enum E { case A }
given x: Int = 1
implicit class Ops(x: Int) { def z = 1 }
def top = 1
package object p { def q = 1 }

package a.b

import x.y

const val LIMIT = 3

/** Doc. */
@Ann
class Foo(val a: Int) : Bar() {
  /** Sends. */
  override fun send(a: Int): Unit {
  }

  companion object {
    const val SIZE = 1
    fun make() = 1
  }

  val x: Int
    get() = 1
}

interface I {
  fun f()
}

object O { fun g() {} }
enum class E { A; fun q() {} }
data class D(val x: Int)

// Extends.
// And more.
fun String.ext(): Int = 1
typealias A = Int

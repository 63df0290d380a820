<?php
namespace A\B;
use X\Y;
const LIMIT = 3;
/** Doc. */
#[Attr]
final class Foo extends Bar {
  const A = 1;
  private $x;
  /** Send. */
  public function send(int $a): void { }
}
interface I { function f(); }
trait T { function g() {} }
enum E: string { case A = 'a'; }
function run() {}
$f = function () {};

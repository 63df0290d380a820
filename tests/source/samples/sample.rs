//! crate doc
use x::y;
pub const LIMIT: u8 = 3;
static S: u8 = 1;
/// A point.
#[derive(Debug)]
pub struct Point { x: u8 }
enum E { A }
trait T { fn f(&self); fn g() {} }
impl<T> T for Point<T> {
    /// New.
    #[inline]
    pub fn new() -> Self { Point { x: 1 } }
}
impl a::Foo { fn z() {} }
mod m { fn inner() {} }
macro_rules! mac { () => {} }
type A = u8;
union U { a: u8 }
pub async fn run() {}

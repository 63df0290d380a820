//! top doc
const std = @import("std");
/// Foo
pub const Foo = struct {
    x: u8,
    /// send
    pub fn send(self: *Foo) void {}
};
const E = enum { a };
const limit: u8 = 3;
pub fn main() !void {}
test "x" {}
fn Generic(comptime T: type) type { return struct { fn inner() void {} }; }

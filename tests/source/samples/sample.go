package main

import "x"

const Limit = 3
const (
	A = iota
	B
)
var ErrX = errors.New("x")

// Foo is.
type Foo struct {
	x int
}
type (
	I interface { F() }
	Al = int
)

// Send sends.
func (f *Foo) Send(a int) error { return nil }
func (g G[T]) H() {}
func main() {}

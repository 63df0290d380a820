package ring

// Push writes a value over the oldest one.
func (r *Ring) Push(v int) {
	r.buf[r.pos] = v
	r.pos = (r.pos + 1) % len(r.buf)
}

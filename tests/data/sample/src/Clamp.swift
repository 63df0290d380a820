/// Keeps a value inside the bounds of a range.
///
/// - Parameter value: any value
/// - Returns: the nearest value inside
func clamp(_ value: Int, to range: ClosedRange<Int>) -> Int {
    if value < range.lowerBound { return range.lowerBound }
    return min(value, range.upperBound)
}

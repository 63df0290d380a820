/// Counts the set bits of every byte.
///
/// # Examples
///
/// ```
/// ones(&[1]);
/// ```
pub fn ones(bytes: &[u8]) -> u32 {
    let mut n = 0;
    for b in bytes { n += b.count_ones(); }
    n
}

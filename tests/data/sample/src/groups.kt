/**
 * Groups words by their first letter.
 *
 * @param words in any order
 */
fun byInitial(words: List<String>): Map<Char, List<String>> {
    val kept = words.filter { it.isNotEmpty() }
    return kept.groupBy { it.first().lowercaseChar() }
}

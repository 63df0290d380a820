#' Scale a vector to unit length
#'
#' @param x numbers
#' @export

unit <- function(x) {
  n <- sqrt(sum(x^2))
  x / n
}

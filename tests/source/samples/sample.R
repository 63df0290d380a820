library(x)
#' Adds
#' @param a x
add <- function(a, b) {
  a
}
mul = function(x) x
LIMIT <- 3
setClass("Foo", representation(x = "numeric"))
setMethod("show", "Foo", function(object) {})
Stack <- R6Class("Stack",
  public = list(
    # Pushes.
    push = function(item) {
      item
    },
    size = 0
  )
)
f <- \(x) x
lapply(x, FUN = function(i) i)

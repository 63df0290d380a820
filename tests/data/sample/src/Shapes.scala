object Shapes {
  /** Computes the area of a polygon by the shoelace formula.
    *
    * @param points its corners in order
    */
  def area(points: Seq[(Double, Double)]): Double = {
    val pairs = points.zip(points.tail :+ points.head)
    pairs.map { case ((a, b), (c, d)) => a * d - b * c }.sum.abs / 2
  }
}

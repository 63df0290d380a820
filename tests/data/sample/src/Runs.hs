module Runs where

-- | Counts the runs of equal elements in a list.
--
-- >>> runs "aab"
-- [('a',2),('b',1)]
runs :: Eq a => [a] -> [(a, Int)]
runs [] = []
runs (x : xs) =
  let (same, rest) = span (== x) xs
   in (x, 1 + length same) : runs rest

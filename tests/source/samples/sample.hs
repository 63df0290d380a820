{-# LANGUAGE Strict #-}
module A.B where
import X
-- | Doc.
-- more
add :: Int -> Int
add 0 = 1
add x = x

{- | Block
   doc. -}
data Foo = Foo { a :: Int } deriving Show
newtype N = N Int
type A = Int

-- | A class.
class C a where
  -- | meth
  f :: a -> Int
  f _ = 1

instance C Foo where
  f _ = 2

limit = 3
x <+> y = x

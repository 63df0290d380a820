defmodule A.B do
  @moduledoc """
  Mod doc.
  """
  use X
  @limit 3

  @type t :: integer

  @doc """
  Adds.
  """
  @spec add(integer) :: integer
  def add(a, b \\ 1) when a > 1 do
    a
  end

  def add(a), do: a

  @doc "short"
  defp priv(x), do: x

  # A comment.
  defmacro mac(x) do
    x
  end

  @doc false
  def hidden, do: 1

  defmodule Inner do
    def z, do: 1
  end
end

defimpl P, for: A do
  def q(x), do: x
end

defprotocol P do
  def q(x)
end

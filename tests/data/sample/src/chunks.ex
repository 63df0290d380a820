defmodule Chunks do
  @doc """
  Splits a binary into parts of at most `size` bytes.

  ## Examples

      iex> Chunks.split("abc", 2)
  """
  def split(binary, size) when byte_size(binary) > size do
    <<head::binary-size(size), rest::binary>> = binary
    [head | split(rest, size)]
  end
end

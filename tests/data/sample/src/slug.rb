# Turns a title into a part of an address.
def slug(title)
  words = title.downcase.scan(/\w+/)
  words.join("-")
end

local M = {}

--- Copies the fields of one table into another.
-- @param into the table that changes
-- @param from the table that is read
function M.merge(into, from)
  for key, value in pairs(from) do
    into[key] = value
  end
  return into
end

return M

local M = {}
-- Adds.
local function add(a, b) return a end
function M.send(x) end
function M:go() end
M.f = function() end
local g = function() end
--- Doc
--- more
function top() end
M.LIMIT = 3
local t = { a = function() end }
return M

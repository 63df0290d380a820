% Adds.
function r = add(a, b)
% ADD adds two
% more
  r = a + b;
end
function helper()
end
x = 1;

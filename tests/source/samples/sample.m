classdef Foo < Bar
  % Doc
  properties
    x
  end
  methods
    % constructor
    function obj = Foo(a)
      obj.x = a;
    end
    function send(obj)
      % SEND sends
      y = 1;
    end
  end
end

require 'x'
# Doc
module A
  LIMIT = 3
  # Foo doc
  class Foo < Bar
    attr_reader :x
    # send
    def send(a)
      1
    end
    def self.make; end
    class << self
      def build; end
    end
    private def hidden; end
  end
  class B::C; end
end
describe "x" do
  it "y" do
  end
end

/** Adds. */
export function add(a, b) { return a + b; }
const LIMIT = 3, other = 4;
// arrow
export const mul = async (a) => {
  return a;
};
class Foo extends Bar {
  #x = 1;
  /** Send. */
  async send() { return 1; }
  static get y() { return 2; }
  handler = () => 3;
}
module.exports = function run() {};
Foo.prototype.go = function (a) { return a; };
exports.x = (a) => a;
export default class extends Foo {}
const obj = {
  method() { return 1; },
  arrow: () => 2,
  fn: function () {},
};
function* gen() {}
describe('x', () => { it('y', () => {}); });

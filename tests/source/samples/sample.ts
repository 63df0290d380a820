/** Doc */
export interface Opts { a: string; run(x: number): void }
export type Alias<T> = T | null;
enum Color { Red, Green }
namespace N { export function f(): void {} }
declare module 'x' { function g(): void; }
abstract class A<T> implements Opts {
  private x: number = 1;
  @dec() method(a: string): void {}
  abstract foo(): void;
  constructor(private y: number) { super(); }
}
@Component({a: 1})
export class B {}
export const f = <T,>(x: T): T => x;
declare function h(): void;
export default function main() {}
function over(a: string): void;
function over(a: any) {}

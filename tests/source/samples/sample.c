#ifndef A_H
#define A_H
#include <x.h>
#define LIMIT 3
#define MAX(a, b) ((a) > (b) ? (a) : (b))
/* A point. */
struct point { int x; };
typedef struct { int y; } pt_t;
typedef int (*cb)(int);
enum color { RED, GREEN };
union u { int a; };
/**
 * Adds.
 * @param a x
 */
static int *add(int a, int b) {
  return 0;
}
int proto(int);
static const int table[] = {1, 2};
extern int counter;
int (*fp(void))(int) { return 0; }
#endif

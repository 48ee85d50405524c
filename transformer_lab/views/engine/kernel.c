// Arithmetic for the engine of a page: matrix products y = x·Wᵀ + b, in 32 bits, with weights of 32 or 8
// bits; and what is done number by number.
// kernel.js holds the compiled module; tests/graphs compile this file again and compare.
//
//   clang --target=wasm32 -O3 -msimd128 -fno-builtin -nostdlib -Wl,--no-entry -Wl,--import-memory -Wl,--strip-all
//     -Wl,-z,stack-size=8192 -Wl,--stack-first -Wl,--initial-memory=65536 -o kernel.wasm kernel.c

#include <wasm_simd128.h>

#define FMA(a, x, w) a = wasm_f32x4_add(a, wasm_f32x4_mul(x, w))
#define ZERO wasm_f32x4_splat(0)
#define INLINE static inline __attribute__((always_inline))

// The sums of four vectors as one.
INLINE v128_t across(const v128_t *a) {
  v128_t p = wasm_f32x4_add(wasm_i32x4_shuffle(a[0], a[1], 0, 4, 1, 5), wasm_i32x4_shuffle(a[0], a[1], 2, 6, 3, 7));
  v128_t q = wasm_f32x4_add(wasm_i32x4_shuffle(a[2], a[3], 0, 4, 1, 5), wasm_i32x4_shuffle(a[2], a[3], 2, 6, 3, 7));
  return wasm_f32x4_add(wasm_i32x4_shuffle(p, q, 0, 1, 4, 5), wasm_i32x4_shuffle(p, q, 2, 3, 6, 7));
}

// Of n rows of x, which is known where it is compiled, the sums over `in` numbers with four rows of w.
INLINE void tile(const int n, const float *x, int xs, const float *const *w, int in, v128_t *sums) {
  v128_t a[8] = {ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO};
  const float *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
  int k = 0;
  for (; k < (in & ~3); k += 4) {
    v128_t p0 = wasm_v128_load(w0 + k), p1 = wasm_v128_load(w1 + k), p2 = wasm_v128_load(w2 + k), p3 = wasm_v128_load(w3 + k);
    for (int i = 0; i < n; i++) {
      v128_t r = wasm_v128_load(x + (long)i * xs + k);
      FMA(a[4 * i], r, p0);
      FMA(a[4 * i + 1], r, p1);
      FMA(a[4 * i + 2], r, p2);
      FMA(a[4 * i + 3], r, p3);
    }
  }
  for (int i = 0; i < n; i++) sums[i] = across(a + 4 * i);
  for (; k < in; k++) for (int i = 0; i < n; i++) FMA(sums[i], wasm_f32x4_splat(x[(long)i * xs + k]), wasm_f32x4_make(w0[k], w1[k], w2[k], w3[k]));
}

INLINE void put(float *y, v128_t v, int n) {
  if (n >= 4) wasm_v128_store(y, v);
  else for (int k = 0; k < n; k++) y[k] = ((float *)&v)[k];
}

// Up to four columns of y, of rows `from` … `to`: the sums times p, plus b.
static void columns(const float *x, int xs, const float *u, int ws, int left, float *y, int ys, int from, int to, int in, v128_t p, v128_t b) {
  const float *w[4] = {u, left > 1 ? u + ws : u, left > 2 ? u + 2 * (long)ws : u, left > 3 ? u + 3 * (long)ws : u};
  v128_t s[2];
  for (int r = from; r < to; r += 2) {
    int n = to - r < 2 ? 1 : 2;
    if (n == 2) tile(2, x + (long)r * xs, xs, w, in, s);
    else tile(1, x + (long)r * xs, xs, w, in, s);
    for (int i = 0; i < n; i++) put(y + (long)(r + i) * ys, wasm_f32x4_add(wasm_f32x4_mul(s[i], p), b), left);
  }
}

// Rows of x that stay near the processor while all of w is read once.
static int near(int in) {
  int rows = (32768 / (in > 0 ? in : 1)) & ~3;
  return rows < 4 ? 4 : rows;
}

// x [rows, in], w [out, in], y [rows, out], of which rows are xs, ws and ys numbers apart; b [out] or 0.
__attribute__((export_name("linear")))
void linear(const float *x, int xs, const float *w, int ws, const float *b, float *y, int ys, int rows, int in, int out) {
  for (int from = 0, block = near(in); from < rows; from += block)
    for (int o = 0; o < out; o += 4)
      columns(x, xs, w + (long)o * ws, ws, out - o, y + o, ys, from, from + block < rows ? from + block : rows, in, wasm_f32x4_splat(1), b ? wasm_v128_load(b + o) : ZERO);
}

// Keeps the compiler from making one slow step of two fast ones.
INLINE v128_t apart(v128_t v) {
  __asm__("" : "+r"(v));
  return v;
}

static void widen(const signed char *w, float *y, int n) {
  int k = 0;
  for (; k < (n & ~7); k += 8) {
    v128_t q = apart(wasm_i16x8_load8x8(w + k));
    wasm_v128_store(y + k, wasm_f32x4_convert_i32x4(apart(wasm_i32x4_extend_low_i16x8(q))));
    wasm_v128_store(y + k + 4, wasm_f32x4_convert_i32x4(apart(wasm_i32x4_extend_high_i16x8(q))));
  }
  for (; k < n; k++) y[k] = w[k];
}

// The same with w in 8 bits, one row after the other, and one scale for each of them; room [4 · in].
__attribute__((export_name("linear8")))
void linear8(const float *x, int xs, const signed char *w, const float *scale, const float *b, float *y, int ys, int rows, int in, int out, float *room) {
  for (int from = 0, block = near(in); from < rows; from += block)
    for (int o = 0; o < out; o += 4) {
      widen(w + (long)o * in, room, out - o < 4 ? (out - o) * in : 4 * in);
      columns(x, xs, room, in, out - o, y + o, ys, from, from + block < rows ? from + block : rows, in, wasm_v128_load(scale + o), b ? wasm_v128_load(b + o) : ZERO);
    }
}

// y = x·w + b with w [in, out] as it is, and x with any distance between its rows and its columns.
__attribute__((export_name("product")))
void product(const float *x, int row, int column, const float *w, int ws, const float *b, float *y, int ys, int rows, int in, int out) {
  for (int o = 0; o < out; o += 8) {
    v128_t first = b ? wasm_v128_load(b + o) : ZERO, second = b ? wasm_v128_load(b + o + 4) : ZERO;
    for (int r = 0; r < rows; r += 4) {
      int n = rows - r < 4 ? rows - r : 4;
      const float *x0 = x + (long)r * row, *x1 = n > 1 ? x0 + row : x0, *x2 = n > 2 ? x1 + row : x0, *x3 = n > 3 ? x2 + row : x0, *u = w + o;
      v128_t a0 = first, a1 = first, a2 = first, a3 = first, c0 = second, c1 = second, c2 = second, c3 = second;
      for (int k = 0; k < in; k++, u += ws) { // reads up to seven numbers behind w
        v128_t p = wasm_v128_load(u), q = wasm_v128_load(u + 4), s;
        long at = (long)k * column;
        s = wasm_v128_load32_splat(x0 + at); FMA(a0, s, p); FMA(c0, s, q);
        s = wasm_v128_load32_splat(x1 + at); FMA(a1, s, p); FMA(c1, s, q);
        s = wasm_v128_load32_splat(x2 + at); FMA(a2, s, p); FMA(c2, s, q);
        s = wasm_v128_load32_splat(x3 + at); FMA(a3, s, p); FMA(c3, s, q);
      }
      v128_t sums[8] = {a0, c0, a1, c1, a2, c2, a3, c3};
      for (int i = 0; i < n; i++) {
        put(y + (long)(r + i) * ys + o, sums[2 * i], out - o);
        put(y + (long)(r + i) * ys + o + 4, sums[2 * i + 1], out - o - 4);
      }
    }
  }
}

// ---- number by number -------------------------------------------------------------------------------

// e^x to a last bit or two: 2^n · e^r, with r at most ln 2 / 2 (Cephes' coefficients).
static v128_t exp4(v128_t x) {
  x = wasm_f32x4_max(wasm_f32x4_min(x, wasm_f32x4_splat(88.37f)), wasm_f32x4_splat(-87.33f));
  v128_t n = wasm_f32x4_nearest(wasm_f32x4_mul(x, wasm_f32x4_splat(1.44269504f)));
  v128_t r = wasm_f32x4_sub(x, wasm_f32x4_mul(n, wasm_f32x4_splat(0.693359375f)));
  r = wasm_f32x4_sub(r, wasm_f32x4_mul(n, wasm_f32x4_splat(-2.12194440e-4f)));
  static const float c[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  v128_t p = wasm_f32x4_splat(c[0]);
  for (int i = 1; i < 6; i++) p = wasm_f32x4_add(wasm_f32x4_mul(p, r), wasm_f32x4_splat(c[i]));
  p = wasm_f32x4_add(wasm_f32x4_add(wasm_f32x4_mul(wasm_f32x4_mul(p, r), r), r), wasm_f32x4_splat(1));
  v128_t power = wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_splat(127)), 23);
  return wasm_f32x4_mul(p, power);
}

static v128_t sigmoid4(v128_t x) {
  return wasm_f32x4_div(wasm_f32x4_splat(1), wasm_f32x4_add(wasm_f32x4_splat(1), exp4(wasm_f32x4_neg(x))));
}

static v128_t tanh4(v128_t x) {
  v128_t e = exp4(wasm_f32x4_mul(x, wasm_f32x4_splat(2)));
  return wasm_f32x4_sub(wasm_f32x4_splat(1), wasm_f32x4_div(wasm_f32x4_splat(2), wasm_f32x4_add(e, wasm_f32x4_splat(1))));
}

// Numerical Recipes, 6.2; right to 1.2e-7.
static v128_t erf4(v128_t x) {
  static const float c[9] = {0.17087277f, -0.82215223f, 1.48851587f, -1.13520398f, 0.27886807f, -0.18628806f, 0.09678418f, 0.37409196f, 1.00002368f};
  v128_t one = wasm_f32x4_splat(1), a = wasm_f32x4_abs(x);
  v128_t t = wasm_f32x4_div(one, wasm_f32x4_add(one, wasm_f32x4_mul(wasm_f32x4_splat(0.5f), a))), s = wasm_f32x4_splat(c[0]);
  for (int i = 1; i < 9; i++) s = wasm_f32x4_add(wasm_f32x4_mul(s, t), wasm_f32x4_splat(c[i]));
  s = wasm_f32x4_sub(wasm_f32x4_mul(s, t), wasm_f32x4_add(wasm_f32x4_mul(x, x), wasm_f32x4_splat(1.26551223f)));
  v128_t rest = wasm_f32x4_sub(one, wasm_f32x4_mul(t, exp4(s)));
  return wasm_v128_bitselect(wasm_f32x4_neg(rest), rest, wasm_f32x4_lt(x, wasm_f32x4_splat(0)));
}

static v128_t map4(int what, v128_t x) {
  v128_t half = wasm_f32x4_splat(0.5f), one = wasm_f32x4_splat(1), u;
  switch (what) {
    case 0: return exp4(x);
    case 1: return sigmoid4(x);
    case 2: return tanh4(x);
    case 3: return wasm_f32x4_mul(x, sigmoid4(x));
    case 4: return wasm_f32x4_mul(wasm_f32x4_mul(half, x), wasm_f32x4_add(one, erf4(wasm_f32x4_mul(x, wasm_f32x4_splat(0.70710678f)))));
    case 5:
      u = wasm_f32x4_mul(wasm_f32x4_mul(x, x), wasm_f32x4_mul(x, wasm_f32x4_splat(0.044715f)));
      u = wasm_f32x4_mul(wasm_f32x4_splat(0.79788456f), wasm_f32x4_add(x, u));
      return wasm_f32x4_mul(wasm_f32x4_mul(half, x), wasm_f32x4_add(one, tanh4(u)));
    case 6: return wasm_f32x4_neg(x);
    case 7: return wasm_f32x4_mul(x, x);
    case 8: return wasm_f32x4_max(x, ZERO);
    case 9: return erf4(x);
    case 10: return wasm_f32x4_sqrt(x);
    case 11: return wasm_f32x4_floor(x);
    case 12: return wasm_f32x4_nearest(x);
    default: return wasm_f32x4_abs(x);
  }
}

// y = f(x) of n numbers; reads and writes up to three more, which the heap leaves free behind each tensor.
__attribute__((export_name("map")))
void map(int what, const float *x, float *y, int n) {
  for (int i = 0; i < n; i += 4) wasm_v128_store(y + i, map4(what, wasm_v128_load(x + i)));
}

#define EACH(step, op) { for (; i < (n & ~3); i += 4) wasm_v128_store(y + i, op(wasm_v128_load(a + i), step)); last = op(wasm_v128_load(a + i), step); break; }
#define ZIP(q) switch (what) { \
  case 0: EACH(q, wasm_f32x4_add) case 1: EACH(q, wasm_f32x4_sub) case 2: EACH(q, wasm_f32x4_mul) \
  case 3: EACH(q, wasm_f32x4_div) case 4: EACH(q, wasm_f32x4_max) default: EACH(q, wasm_f32x4_min) }

// y = a ∘ b of n numbers, of which b may be one for all (step 0). The larger and the smaller are NaN where either is.
__attribute__((export_name("zip")))
void zip(int what, const float *a, const float *b, int step, float *y, int n) {
  v128_t one = wasm_v128_load32_splat(b), last = ZERO;
  int i = 0;
  if (step) ZIP(wasm_v128_load(b + i)) else ZIP(one)
  if (i < n) put(y + i, last, n - i);
}

// ---- run by run -------------------------------------------------------------------------------------

// Four numbers of a run of which n are left; behind its end `rest`.
INLINE v128_t next(const float *x, int n, float rest) {
  if (n >= 4) return wasm_v128_load(x);
  return wasm_f32x4_make(x[0], n > 1 ? x[1] : rest, n > 2 ? x[2] : rest, rest);
}

// The sum of n numbers less `less`, or of their squares, in 64 bits.
static double sum(int squares, const float *x, int n, double less) {
  v128_t s = wasm_f64x2_splat(0), t = s, by = wasm_f64x2_splat(less);
  for (int i = 0; i < n; i += 4) {
    v128_t v = next(x + i, n - i, less);
    v128_t low = wasm_f64x2_sub(wasm_f64x2_promote_low_f32x4(v), by), high = wasm_f64x2_sub(wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(v, v, 2, 3, 2, 3)), by);
    s = wasm_f64x2_add(s, squares ? wasm_f64x2_mul(low, low) : low);
    t = wasm_f64x2_add(t, squares ? wasm_f64x2_mul(high, high) : high);
  }
  s = wasm_f64x2_add(s, t);
  return wasm_f64x2_extract_lane(s, 0) + wasm_f64x2_extract_lane(s, 1);
}

static float largest(const float *x, int n) {
  v128_t top = wasm_f32x4_splat(-__builtin_inff());
  for (int i = 0; i < n; i += 4) top = wasm_f32x4_max(top, next(x + i, n - i, -__builtin_inff()));
  top = wasm_f32x4_max(top, wasm_i32x4_shuffle(top, top, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(wasm_f32x4_max(top, wasm_i32x4_shuffle(top, top, 1, 0, 3, 2)), 0);
}

// Of each of `rows` runs of n numbers: their sum (0), that of their squares (1), the largest (2).
__attribute__((export_name("runs")))
void runs(int what, const float *x, float *y, int rows, int n) {
  for (int r = 0; r < rows; r++, x += n) y[r] = what == 2 ? largest(x, n) : sum(what, x, n, 0);
}

// ln x from its exponent, by Halley's method.
static v128_t ln4(v128_t x) {
  v128_t l = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(wasm_i32x4_sub(x, wasm_i32x4_splat(127 << 23))), wasm_f32x4_splat(8.2629582e-8f));
  for (int i = 0; i < 3; i++) {
    v128_t e = exp4(l), apart = wasm_f32x4_div(wasm_f32x4_sub(x, e), wasm_f32x4_add(x, e));
    l = wasm_f32x4_add(l, wasm_f32x4_add(apart, apart));
  }
  return l;
}

// The softmax of each run: of −∞ alone NaN (0), or 0 (1); or its logarithm (2).
__attribute__((export_name("soften")))
void soften(int what, const float *x, float *y, int rows, int n) {
  for (int r = 0; r < rows; r++, x += n, y += n) {
    v128_t top = wasm_f32x4_splat(largest(x, n)), whole = ZERO;
    for (int i = 0; i < n; i += 4) {
      v128_t d = wasm_f32x4_sub(next(x + i, n - i, -__builtin_inff()), top);
      v128_t e = wasm_v128_and(exp4(d), wasm_f32x4_gt(d, wasm_f32x4_splat(-87.3f)));
      whole = wasm_f32x4_add(whole, e);
      put(y + i, what == 2 ? d : e, n - i);
    }
    v128_t parts[4] = {whole, whole, whole, whole};
    whole = across(parts);
    v128_t by = what == 2 ? ln4(whole) : wasm_f32x4_div(wasm_f32x4_splat(1), whole);
    if (what == 1 && wasm_f32x4_extract_lane(whole, 0) == 0) by = ZERO;
    for (int i = 0; i < n; i += 4) put(y + i, what == 2 ? wasm_f32x4_sub(wasm_v128_load(y + i), by) : wasm_f32x4_mul(wasm_v128_load(y + i), by), n - i);
  }
}

// Layer norm of each run, with weights and biases or without (0); and the means and scales.
__attribute__((export_name("norm")))
void norm(const float *x, const float *w, const float *b, float *y, float *means, float *scales, int rows, int n, double eps) {
  for (int r = 0; r < rows; r++, x += n, y += n) {
    double mean = sum(0, x, n, 0) / n;
    v128_t middle = wasm_f32x4_splat(means[r] = mean), by = wasm_f32x4_splat(scales[r] = 1 / __builtin_sqrt(sum(1, x, n, mean) / n + eps));
    for (int i = 0; i < n; i += 4) {
      v128_t v = wasm_f32x4_mul(wasm_f32x4_sub(wasm_v128_load(x + i), middle), by);
      if (w) v = wasm_f32x4_mul(v, wasm_v128_load(w + i));
      put(y + i, b ? wasm_f32x4_add(v, wasm_v128_load(b + i)) : v, n - i);
    }
  }
}

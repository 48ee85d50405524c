// Arithmetic for the engine of a page: matrix products y = x·Wᵀ + b, in 32 bits, with weights of 32 or 8
// bits; and what is done number by number.
// kernel.js holds the compiled module; tests/views/engine compile this file again and compare.
//
//   clang --target=wasm32 -O3 -msimd128 -fno-builtin -nostdlib -Wl,--no-entry -Wl,--import-memory -Wl,--strip-all
//     -Wl,-z,stack-size=8192 -Wl,--stack-first -Wl,--initial-memory=65536 -o kernel.wasm kernel.c

#include <wasm_simd128.h>

#define SUM(v) (wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1) + \
                wasm_f32x4_extract_lane(v, 2) + wasm_f32x4_extract_lane(v, 3))
#define FMA(a, x, w) a = wasm_f32x4_add(a, wasm_f32x4_mul(x, w))
#define ZERO wasm_f32x4_splat(0)

// Sums over `in` numbers of n rows of x with m rows of w: s[4 · row of w + row of x]. n and m are known
// where it is compiled, and every number that is read serves several sums.
static inline __attribute__((always_inline)) void tile(const int n, const int m, const float *x, const float *u, const float *v, int in, float *s) {
  v128_t a[8] = {ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO};
  int k = 0;
  for (; k < (in & ~3); k += 4) {
    v128_t p = wasm_v128_load(u + k), q = m > 1 ? wasm_v128_load(v + k) : p;
    for (int i = 0; i < n; i++) {
      v128_t r = wasm_v128_load(x + (long)i * in + k);
      FMA(a[i], r, p);
      if (m > 1) FMA(a[4 + i], r, q);
    }
  }
  for (int i = 0; i < n; i++) {
    s[i] = SUM(a[i]);
    if (m > 1) s[4 + i] = SUM(a[4 + i]);
  }
  for (; k < in; k++) for (int i = 0; i < n; i++) {
    s[i] += x[(long)i * in + k] * u[k];
    if (m > 1) s[4 + i] += x[(long)i * in + k] * v[k];
  }
}

// A column of y, or two, of rows `from` … `to`, times p and q.
static void columns(int two, const float *x, const float *u, const float *b, float *y, int from, int to, int in, int out, float p, float q) {
  const float *v = two ? u + in : u;
  float s[8];
  for (int r = from; r < to; r += 4) {
    const float *x0 = x + (long)r * in;
    int n = to - r < 4 ? to - r : 4;
    if (n == 4) tile(4, 2, x0, u, v, in, s);
    else if (n == 3) tile(3, 2, x0, u, v, in, s);
    else if (n == 2) tile(2, 2, x0, u, v, in, s);
    else tile(1, 2, x0, u, v, in, s);
    for (int i = 0; i < n; i++) {
      float *to_y = y + (long)(r + i) * out;
      to_y[0] = s[i] * p + (b ? b[0] : 0);
      if (two) to_y[1] = s[4 + i] * q + (b ? b[1] : 0);
    }
  }
}

// Rows of x that stay near the processor while all of w is read once.
static int near(int in) {
  int rows = (32768 / (in > 0 ? in : 1)) & ~3;
  return rows < 4 ? 4 : rows;
}

// x [rows, in], w [out, in], b [out] or 0, y [rows, out].
__attribute__((export_name("linear")))
void linear(const float *x, const float *w, const float *b, float *y, int rows, int in, int out) {
  if (rows == 1) { // rows of w in the place of rows of x
    float s[8];
    int o = 0;
    for (; o + 4 <= out; o += 4) {
      tile(4, 1, w + (long)o * in, x, x, in, s);
      for (int i = 0; i < 4; i++) y[o + i] = s[i] + (b ? b[o + i] : 0);
    }
    for (; o < out; o++) {
      tile(1, 1, w + (long)o * in, x, x, in, s);
      y[o] = s[0] + (b ? b[o] : 0);
    }
    return;
  }
  for (int from = 0, block = near(in); from < rows; from += block)
    for (int o = 0; o < out; o += 2)
      columns(o + 1 < out, x, w + (long)o * in, b ? b + o : 0, y + o, from, from + block < rows ? from + block : rows, in, out, 1, 1);
}

// y = x·w + b with w [in, out] as it is, and x with any distance between its rows and its columns.
__attribute__((export_name("product")))
void product(const float *x, int row, int column, const float *w, const float *b, float *y, int rows, int in, int out) {
  for (int o = 0; o < out; o += 8) {
    int left = out - o < 8 ? out - o : 8;
    v128_t first = b ? wasm_v128_load(b + o) : ZERO, second = b ? wasm_v128_load(b + o + 4) : ZERO;
    for (int r = 0; r < rows; r += 4) {
      int n = rows - r < 4 ? rows - r : 4;
      const float *x0 = x + (long)r * row, *x1 = n > 1 ? x0 + row : x0, *x2 = n > 2 ? x1 + row : x0, *x3 = n > 3 ? x2 + row : x0, *u = w + o;
      v128_t a0 = first, a1 = first, a2 = first, a3 = first, c0 = second, c1 = second, c2 = second, c3 = second;
      for (int k = 0; k < in; k++, u += out) { // reads up to seven numbers behind w
        v128_t p = wasm_v128_load(u), q = wasm_v128_load(u + 4), s;
        long at = (long)k * column;
        s = wasm_v128_load32_splat(x0 + at); FMA(a0, s, p); FMA(c0, s, q);
        s = wasm_v128_load32_splat(x1 + at); FMA(a1, s, p); FMA(c1, s, q);
        s = wasm_v128_load32_splat(x2 + at); FMA(a2, s, p); FMA(c2, s, q);
        s = wasm_v128_load32_splat(x3 + at); FMA(a3, s, p); FMA(c3, s, q);
      }
      v128_t sums[8] = {a0, c0, a1, c1, a2, c2, a3, c3};
      for (int i = 0; i < n; i++) {
        float *to = y + (long)(r + i) * out + o, *from = (float *)(sums + 2 * i);
        if (left == 8) { wasm_v128_store(to, sums[2 * i]); wasm_v128_store(to + 4, sums[2 * i + 1]); }
        else for (int k = 0; k < left; k++) to[k] = from[k];
      }
    }
  }
}

static void widen(const signed char *w, float *y, int n) {
  int k = 0;
  for (; k < (n & ~15); k += 16) {
    v128_t q = wasm_v128_load(w + k), low = wasm_i16x8_extend_low_i8x16(q), high = wasm_i16x8_extend_high_i8x16(q);
    wasm_v128_store(y + k, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(low)));
    wasm_v128_store(y + k + 4, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(low)));
    wasm_v128_store(y + k + 8, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(high)));
    wasm_v128_store(y + k + 12, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(high)));
  }
  for (; k < n; k++) y[k] = w[k];
}

// The same with w in 8 bits and one scale for each of its rows; room [2 · in].
__attribute__((export_name("linear8")))
void linear8(const float *x, const signed char *w, const float *scale, const float *b, float *y, int rows, int in, int out, float *room) {
  for (int from = 0, block = near(in); from < rows; from += block)
    for (int o = 0; o < out; o += 2) {
      int two = o + 1 < out;
      widen(w + (long)o * in, room, two ? 2 * in : in);
      columns(two, x, room, b ? b + o : 0, y + o, from, from + block < rows ? from + block : rows, in, out, scale[o], two ? scale[o + 1] : 1);
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
    default: return wasm_f32x4_sqrt(x);
  }
}

// y = f(x) of n numbers; reads and writes up to three more, which the heap leaves free behind each tensor.
__attribute__((export_name("map")))
void map(int what, const float *x, float *y, int n) {
  for (int i = 0; i < n; i += 4) wasm_v128_store(y + i, map4(what, wasm_v128_load(x + i)));
}

// y = a ∘ b of n numbers, of which b may be one for all (step 0).
__attribute__((export_name("zip")))
void zip(int what, const float *a, const float *b, int step, float *y, int n) {
  int whole = n & ~3, i = 0;
  v128_t q = wasm_v128_load32_splat(b);
  for (; i < whole; i += 4) {
    v128_t p = wasm_v128_load(a + i);
    if (step) q = wasm_v128_load(b + i);
    v128_t r = what == 0 ? wasm_f32x4_add(p, q) : what == 1 ? wasm_f32x4_sub(p, q) : what == 2 ? wasm_f32x4_mul(p, q) : wasm_f32x4_div(p, q);
    wasm_v128_store(y + i, r);
  }
  for (; i < n; i++) {
    float p = a[i], v = b[i * step];
    y[i] = what == 0 ? p + v : what == 1 ? p - v : what == 2 ? p * v : p / v;
  }
}

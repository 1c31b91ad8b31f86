//! Fermat's test of eight numbers at once, and rests by as many small primes, where the processor multiplies eight
//! times 52 bits at once (AVX-512 IFMA).
//!
//! A register holds the same limb of all eight. Squares are sums by column, of tiles of six limbs by six: the twelve
//! columns of a tile stay in registers, and limbs are read twelve times less often than they are multiplied.

use super::primes::{BITS, GROUP, LANES};
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_epi64, _mm512_andnot_epi64, _mm512_cmpeq_epi64_mask, _mm512_cvtepi64_pd,
    _mm512_cvttpd_epi64, _mm512_div_pd, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_min_epu64,
    _mm512_set1_epi64, _mm512_set1_pd, _mm512_setzero_si512, _mm512_slli_epi64, _mm512_sllv_epi64, _mm512_srli_epi64,
    _mm512_srlv_epi64, _mm512_sub_epi64,
};

const RADIX: usize = 52;
const MASK: u64 = (1 << RADIX) - 1;
const TILE: usize = 6;
const TILES: usize = 5;
const LIMBS: usize = TILE * TILES;
/// Squarings, one for each bit of the exponent but the highest ten: their power is a single bit.
const STEPS: usize = BITS - 10;

type Lanes = __m512i;
type Number = [[Lanes; TILE]; TILES];
type Square = [[Lanes; TILE]; 2 * TILES];
type Columns = [Lanes; 2 * TILE];

fn lanes(numbers: [u64; LANES]) -> Lanes {
    // SAFETY: both are 512 bits, and any bits are numbers.
    unsafe { std::mem::transmute(numbers) }
}

fn numbers(lanes: Lanes) -> [u64; LANES] {
    // SAFETY: as above.
    unsafe { std::mem::transmute(lanes) }
}

/// Adds a limb by the limbs of `a` to the columns from its own on.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn row(columns: &mut Columns, limb: Lanes, at: usize, a: &[Lanes; TILE], from: usize) {
    for i in from..TILE {
        columns[at + i] = _mm512_madd52lo_epu64(columns[at + i], a[i], limb);
    }
    for i in from..TILE {
        columns[at + i + 1] = _mm512_madd52hi_epu64(columns[at + i + 1], a[i], limb);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn tile(columns: &mut Columns, a: &[Lanes; TILE], b: &[Lanes; TILE]) {
    for (at, limb) in b.iter().enumerate() {
        row(columns, *limb, at, a, 0);
    }
}

/// Goes on by six columns: the lower ones are done.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn advance(columns: &mut Columns) {
    columns.copy_within(TILE.., 0);
    columns[TILE..].fill(_mm512_setzero_si512());
}

/// The columns of a square, each the sum of at most 60 halves of products: 58 bits, and the reduction adds as many.
#[target_feature(enable = "avx512f,avx512ifma")]
fn square(square: &mut Square, x: &Number) {
    let mut columns = [_mm512_setzero_si512(); 2 * TILE];
    for (k, done) in square.iter_mut().enumerate() {
        for i in k.saturating_sub(TILES - 1)..k.div_ceil(2) {
            tile(&mut columns, &x[i], &x[k - i]);
        }
        if k % 2 == 0 {
            let a = &x[k / 2];
            for (at, limb) in a.iter().enumerate() {
                row(&mut columns, *limb, at, a, at + 1);
            }
        }
        for i in 0..TILE / 2 {
            let limb = k * TILE / 2 + i;
            let limb = x[limb / TILE][limb % TILE];
            let [even, odd] = [columns[2 * i], columns[2 * i + 1]];
            done[2 * i] = _mm512_madd52lo_epu64(_mm512_add_epi64(even, even), limb, limb);
            done[2 * i + 1] = _mm512_madd52hi_epu64(_mm512_add_epi64(odd, odd), limb, limb);
        }
        advance(&mut columns);
    }
}

/// Montgomery's reduction, and the result shifted by a bit in some lanes. Of less than 16 n² comes less than 1.1 n, and
/// 2.1 n when shifted: 24 bits are free, and nothing is ever subtracted.
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce(x: &mut Number, square: &Square, n: &Number, inverse: Lanes, shift: Lanes) {
    let zero = _mm512_setzero_si512();
    let mask = _mm512_set1_epi64(MASK as i64);
    let mut q = [[zero; TILE]; TILES];
    let mut columns = [zero; 2 * TILE];
    for k in 0..TILES {
        for i in 0..TILE {
            columns[i] = _mm512_add_epi64(columns[i], square[k][i]);
        }
        for i in 0..k {
            tile(&mut columns, &q[i], &n[k - i]);
        }
        for at in 0..TILE {
            let limb = _mm512_madd52lo_epu64(zero, columns[at], inverse);
            q[k][at] = limb;
            // The row makes 52 zeros at the end of its lowest column, which is to round it up: no need to wait for it.
            let carry = _mm512_srli_epi64::<{ RADIX as u32 }>(_mm512_add_epi64(columns[at], mask));
            columns[at + 1] = _mm512_add_epi64(columns[at + 1], carry);
            row(&mut columns, limb, at, &n[0], 0);
        }
        advance(&mut columns);
    }
    let mut carry = zero;
    for k in TILES..2 * TILES {
        for i in 0..TILE {
            columns[i] = _mm512_add_epi64(columns[i], square[k][i]);
        }
        for i in k - TILES + 1..TILES {
            tile(&mut columns, &q[i], &n[k - i]);
        }
        for i in 0..TILE {
            let limb = _mm512_add_epi64(_mm512_sllv_epi64(columns[i], shift), carry);
            x[k - TILES][i] = _mm512_and_epi64(limb, mask);
            carry = _mm512_srli_epi64::<{ RADIX as u32 }>(limb);
        }
        advance(&mut columns);
    }
}

/// The lowest limb first, of bytes whose highest is first.
fn limbs(bytes: &[u8]) -> [u64; LIMBS] {
    let mut limbs = [0; LIMBS];
    for (i, byte) in bytes.iter().rev().enumerate() {
        let (limb, bit) = (8 * i / RADIX, 8 * i % RADIX);
        limbs[limb] |= u64::from(*byte) << bit & MASK;
        if bit > RADIX - 8 {
            limbs[limb + 1] |= u64::from(*byte) >> (RADIX - bit);
        }
    }
    limbs
}

fn transpose(numbers: &[[u64; LIMBS]; LANES]) -> Number {
    std::array::from_fn(|t| std::array::from_fn(|i| lanes(numbers.map(|n| n[t * TILE + i]))))
}

/// What makes a number -1 by multiplication, modulo 2^52.
fn minus_inverse(n: u64) -> u64 {
    // Right in the three lowest bits, and in twice as many each time.
    (0..5).fold(n, |i, _| i.wrapping_mul(2u64.wrapping_sub(n.wrapping_mul(i)))).wrapping_neg()
}

/// A bit for each number n that 2^(n - 1) = 1 modulo n holds for.
///
/// Made is 2^-(n + 1), which is then 2^-2. The bits of -(n + 1) are those of n turned over, under a negative number at
/// the top, -1 - n / 2^`STEPS`; and of that the power in Montgomery's form, which is 2^1560 times as much, is one bit.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fermat(numbers: &[[u64; LIMBS]; LANES]) -> u8 {
    let n = transpose(numbers);
    let inverse = lanes(numbers.map(|n| minus_inverse(n[0])));
    let mut x = transpose(&numbers.map(|n| {
        let bit = RADIX * LIMBS - 1 - (n[STEPS / RADIX] >> (STEPS % RADIX)) as usize;
        let mut power = [0; LIMBS];
        power[bit / RADIX] = 1 << (bit % RADIX);
        power
    }));
    let (zero, one) = (_mm512_setzero_si512(), _mm512_set1_epi64(1));
    let mut columns = [[zero; TILE]; 2 * TILES];
    for step in (0..STEPS).rev() {
        let (limb, bit) = (step / RADIX, _mm512_set1_epi64((step % RADIX) as i64));
        let turned = _mm512_andnot_epi64(_mm512_srlv_epi64(n[limb / TILE][limb % TILE], bit), one);
        square(&mut columns, &x);
        reduce(&mut x, &columns, &n, inverse, turned);
    }
    // Four times that, out of Montgomery's form: at most n.
    columns = [[zero; TILE]; 2 * TILES];
    for (to, from) in columns.as_flattened_mut().iter_mut().zip(x.as_flattened()) {
        *to = _mm512_slli_epi64::<2>(*from);
    }
    reduce(&mut x, &columns, &n, inverse, zero);
    let limbs = x.as_flattened().iter().zip([one].into_iter().chain(std::iter::repeat(zero)));
    limbs.fold(u8::MAX, |same, (limb, wanted)| same & _mm512_cmpeq_epi64_mask(*limb, wanted))
}

/// See `Vectors::rests`. With r < 2 p, r 2^32 and a word are less than 2^52, and their rest is at most one p too large.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn rests(words: &[u32], primes: &[u32; GROUP]) -> [u32; GROUP] {
    let (zero, mask) = (_mm512_setzero_si512(), _mm512_set1_epi64(MASK as i64));
    let (vectors, _) = primes.as_chunks::<LANES>();
    let primes: [Lanes; GROUP / LANES] = std::array::from_fn(|v| lanes(vectors[v].map(u64::from)));
    // Exact: a quotient of 2^52 and so small a number is as far from the next integer as its last bit is worth.
    let inverses = primes.map(|p| {
        let inverse = _mm512_div_pd(_mm512_set1_pd((1u64 << RADIX) as f64), _mm512_cvtepi64_pd(p));
        _mm512_cvttpd_epi64(inverse)
    });
    let minus = primes.map(|p| _mm512_sub_epi64(zero, p));
    let mut rests = [zero; GROUP / LANES];
    for word in words {
        let word = _mm512_set1_epi64(i64::from(*word));
        for ((rest, inverse), minus) in rests.iter_mut().zip(inverses).zip(minus) {
            let value = _mm512_add_epi64(_mm512_slli_epi64::<32>(*rest), word);
            let quotient = _mm512_madd52hi_epu64(zero, value, inverse);
            // One bit too many, 2^52: the next shift pushes it out.
            *rest = _mm512_madd52lo_epu64(value, quotient, minus);
        }
    }
    let mut result = [0; GROUP];
    for ((to, rest), prime) in result.as_chunks_mut::<LANES>().0.iter_mut().zip(rests).zip(primes) {
        let rest = _mm512_and_epi64(rest, mask);
        *to = numbers(_mm512_min_epu64(rest, _mm512_sub_epi64(rest, prime))).map(|r| r as u32);
    }
    result
}

/// That this processor has what the above takes.
pub struct Vectors(());

impl Vectors {
    pub fn here() -> Option<Vectors> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512ifma");
        all.then_some(Vectors(()))
    }

    /// See `primes::may_be_primes`, of one to eight.
    pub fn may_be_primes(self, tested: &[Vec<u8>]) -> Vec<bool> {
        let all = std::array::from_fn(|l| limbs(&tested[l.min(tested.len() - 1)]));
        // SAFETY: the processor has these instructions: nobody else can make a `Vectors`.
        let passed = unsafe { fermat(&all) };
        (0..tested.len()).map(|l| passed >> l & 1 == 1).collect()
    }

    /// See `primes::rests`.
    pub fn rests(self, words: &[u32], primes: &[u32; GROUP]) -> [u32; GROUP] {
        // SAFETY: as above.
        unsafe { rests(words, primes) }
    }
}

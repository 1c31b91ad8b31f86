//! Whether a large number is a prime: by vectors, or by the arithmetic of AWS-LC, whose assembly is twice as fast as
//! what Rust compiles to without them.

#[cfg(target_arch = "x86_64")]
use super::fermat::Vectors;
use aws_lc_sys::{
    BIGNUM, BN_CTX, BN_CTX_free, BN_CTX_new, BN_MONT_CTX, BN_MONT_CTX_free, BN_MONT_CTX_new_for_modulus, BN_bin2bn,
    BN_clear_free, BN_cmp, BN_is_bit_set, BN_is_one, BN_mod_exp_mont, BN_mod_exp_mont_consttime_x2,
    BN_mod_lshift1_quick, BN_mod_mul_montgomery, BN_new, BN_num_bits, BN_rshift, BN_sub_word, BN_to_montgomery,
    BN_value_one,
};
use std::ptr::NonNull;

/// What the library cannot do: it has no memory.
pub struct NoMemory;

type Result<T> = std::result::Result<T, NoMemory>;

fn ok(rc: std::ffi::c_int) -> Result<()> {
    if rc == 1 { Ok(()) } else { Err(NoMemory) }
}

/// This thread lets others of the host go first from now on: what it makes is needed later.
pub fn give_way() {
    const LESS: std::ffi::c_int = 5;
    // SAFETY: numbers alone; 0 is the calling thread (setpriority(2), "C library/kernel differences").
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LESS) };
}

/// Of the numbers that become primes. The highest bit of each is set.
pub const BITS: usize = 1536;
/// Numbers that vectors test at once.
pub const LANES: usize = 8;
/// Small primes whose rests are taken at once: each step waits for the one before, and others go on meanwhile.
pub const GROUP: usize = 4 * LANES;

#[cfg(not(target_arch = "x86_64"))]
enum Vectors {}

#[cfg(not(target_arch = "x86_64"))]
impl Vectors {
    fn here() -> Option<Vectors> {
        None
    }

    fn may_be_primes(self, _: &[Vec<u8>]) -> Vec<bool> {
        match self {}
    }

    fn rests(self, _: &[u32], _: &[u32; GROUP]) -> [u32; GROUP] {
        match self {}
    }
}

/// Vectors, where they are faster: without optimisation, each instruction is a function.
fn fast() -> Option<Vectors> {
    if cfg!(debug_assertions) { None } else { Vectors::here() }
}

/// How many numbers are best given to `may_be_primes`.
pub fn at_once() -> usize {
    if fast().is_some() { LANES } else { 1 }
}

/// Which odd numbers pass Fermat's test to base 2: of `BITS` bits, the highest byte first, as many as `at_once` says.
pub fn may_be_primes(numbers: &[Vec<u8>]) -> Result<Vec<bool>> {
    match fast() {
        Some(vectors) => Ok(vectors.may_be_primes(numbers)),
        None => numbers.iter().map(|n| Candidate::new(n)?.may_be_prime()).collect(),
    }
}

/// The rests of a number, its highest word first, by primes of less than 2^19.
pub fn rests(words: &[u32], primes: &[u32; GROUP]) -> [u32; GROUP] {
    match fast() {
        Some(vectors) => vectors.rests(words, primes),
        None => rests_by_words(words, primes),
    }
}

fn rests_by_words(words: &[u32], primes: &[u32; GROUP]) -> [u32; GROUP] {
    let mut all = [0; GROUP];
    for (four, primes) in all.as_chunks_mut::<4>().0.iter_mut().zip(primes.as_chunks::<4>().0) {
        let inverses = primes.map(|p| u64::MAX / u64::from(p));
        let rests = words.iter().fold([0u64; 4], |rests, word| {
            // Division takes several times as long. These are at most one prime too large.
            std::array::from_fn(|i| {
                let value = rests[i] << 32 | u64::from(*word);
                let quotient = (u128::from(value) * u128::from(inverses[i])) >> 64;
                value - quotient as u64 * u64::from(primes[i])
            })
        });
        *four = std::array::from_fn(|i| rests[i] as u32 % primes[i]);
    }
    all
}

struct Number(NonNull<BIGNUM>);

impl Number {
    fn zero() -> Result<Number> {
        // SAFETY: takes nothing; NULL is told.
        NonNull::new(unsafe { BN_new() }).map(Number).ok_or(NoMemory)
    }

    fn of(bytes: &[u8]) -> Result<Number> {
        // SAFETY: reads the bytes, and makes a number of its own.
        NonNull::new(unsafe { BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) })
            .map(Number)
            .ok_or(NoMemory)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody has it any more.
        unsafe { BN_clear_free(self.0.as_ptr()) }
    }
}

struct Context(NonNull<BN_CTX>);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody has it any more.
        unsafe { BN_CTX_free(self.0.as_ptr()) }
    }
}

struct Montgomery(NonNull<BN_MONT_CTX>);

impl Drop for Montgomery {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody has it any more.
        unsafe { BN_MONT_CTX_free(self.0.as_ptr()) }
    }
}

/// An odd number of many bits, and what it takes to multiply modulo it.
pub struct Candidate {
    n: Number,
    minus_one: Number,
    one_mont: Number,
    minus_one_mont: Number,
    ctx: Context,
    mont: Montgomery,
}

impl Candidate {
    /// `bytes`: the highest first; odd, of more than 64 bits.
    pub fn new(bytes: &[u8]) -> Result<Candidate> {
        let n = Number::of(bytes)?;
        // SAFETY: takes nothing; NULL is told.
        let ctx = Context(NonNull::new(unsafe { BN_CTX_new() }).ok_or(NoMemory)?);
        // SAFETY: both live; the modulus is copied.
        let mont = unsafe { BN_MONT_CTX_new_for_modulus(n.0.as_ptr(), ctx.0.as_ptr()) };
        let mont = Montgomery(NonNull::new(mont).ok_or(NoMemory)?);
        let minus_one = Number::of(bytes)?;
        let (one_mont, minus_one_mont) = (Number::zero()?, Number::zero()?);
        // SAFETY: all of these live, and the results are others than the arguments.
        unsafe {
            ok(BN_sub_word(minus_one.0.as_ptr(), 1))?;
            ok(BN_to_montgomery(one_mont.0.as_ptr(), BN_value_one(), mont.0.as_ptr(), ctx.0.as_ptr()))?;
            ok(BN_to_montgomery(minus_one_mont.0.as_ptr(), minus_one.0.as_ptr(), mont.0.as_ptr(), ctx.0.as_ptr()))?;
        }
        Ok(Candidate { n, minus_one, one_mont, minus_one_mont, ctx, mont })
    }

    fn square(&self, x: &Number) -> Result<()> {
        let x = x.0.as_ptr();
        // SAFETY: both live, and the library lets the result be the argument.
        ok(unsafe { BN_mod_mul_montgomery(x, x, x, self.mont.0.as_ptr(), self.ctx.0.as_ptr()) })
    }

    fn same(a: &Number, b: &Number) -> bool {
        // SAFETY: both live, and are only read.
        unsafe { BN_cmp(a.0.as_ptr(), b.0.as_ptr()) == 0 }
    }

    /// Fermat's test to base 2: false for nearly all that is no prime, at the cost of squarings alone.
    pub fn may_be_prime(&self) -> Result<bool> {
        let x = Number::zero()?;
        // SAFETY: all of these live; doubling may be in place, of what is less than the modulus.
        unsafe {
            ok(BN_to_montgomery(x.0.as_ptr(), BN_value_one(), self.mont.0.as_ptr(), self.ctx.0.as_ptr()))?;
            for bit in (0..BN_num_bits(self.minus_one.0.as_ptr())).rev() {
                self.square(&x)?;
                if BN_is_bit_set(self.minus_one.0.as_ptr(), bit as std::ffi::c_int) == 1 {
                    ok(BN_mod_lshift1_quick(x.0.as_ptr(), x.0.as_ptr(), self.n.0.as_ptr()))?;
                }
            }
        }
        Ok(Self::same(&x, &self.one_mont))
    }

    /// Miller and Rabin's test to a base of less than the number: false proves that it is none.
    pub fn passes(&self, base: &[u8]) -> Result<bool> {
        let (base, x, (odd, twos)) = (Number::of(base)?, Number::zero()?, self.odd_part()?);
        let (n, ctx, mont) = (self.n.0.as_ptr(), self.ctx.0.as_ptr(), self.mont.0.as_ptr());
        // SAFETY: all of these live, and the result is another than the arguments.
        ok(unsafe { BN_mod_exp_mont(x.0.as_ptr(), base.0.as_ptr(), odd.0.as_ptr(), n, ctx, mont) })?;
        self.ends_well(x, twos)
    }

    /// The same to two bases of as many words as the number, and less than it: at less than the cost of one, where the
    /// processor multiplies by vectors and the number has 1024, 1536 or 2048 bits.
    pub fn passes_both(&self, bases: [&[u8]; 2]) -> Result<bool> {
        if Vectors::here().is_none() {
            return Ok(self.passes(bases[0])? && self.passes(bases[1])?);
        }
        let (a, b) = (Number::of(bases[0])?, Number::of(bases[1])?);
        let (x, y, (odd, twos)) = (Number::zero()?, Number::zero()?, self.odd_part()?);
        let (n, ctx, mont, odd) = (self.n.0.as_ptr(), self.ctx.0.as_ptr(), self.mont.0.as_ptr(), odd.0.as_ptr());
        let (a, b) = (a.0.as_ptr(), b.0.as_ptr());
        // SAFETY: all of these live, the results are others than the arguments, and the bases are less than the modulus.
        ok(unsafe { BN_mod_exp_mont_consttime_x2(x.0.as_ptr(), a, odd, n, mont, y.0.as_ptr(), b, odd, n, mont, ctx) })?;
        Ok(self.ends_well(x, twos)? && self.ends_well(y, twos)?)
    }

    /// The number less one, without its factors of two; and how many those are.
    fn odd_part(&self) -> Result<(Number, std::ffi::c_int)> {
        let odd = Number::zero()?;
        let mut twos = 0;
        // SAFETY: both live, and the result is another than the argument.
        unsafe {
            while BN_is_bit_set(self.minus_one.0.as_ptr(), twos) == 0 {
                twos += 1;
            }
            ok(BN_rshift(odd.0.as_ptr(), self.minus_one.0.as_ptr(), twos))?;
        }
        Ok((odd, twos))
    }

    /// Whether a power of a base is one, or becomes minus one by squaring.
    fn ends_well(&self, x: Number, twos: std::ffi::c_int) -> Result<bool> {
        // SAFETY: both live; conversion may be in place.
        unsafe {
            if BN_is_one(x.0.as_ptr()) == 1 {
                return Ok(true);
            }
            ok(BN_to_montgomery(x.0.as_ptr(), x.0.as_ptr(), self.mont.0.as_ptr(), self.ctx.0.as_ptr()))?;
        }
        for _ in 0..twos {
            if Self::same(&x, &self.minus_one_mont) {
                return Ok(true);
            }
            self.square(&x)?;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::BigUint;
    use ssh_key::rand_core::{OsRng, RngCore};

    /// As both ways say.
    fn passing(numbers: &[BigUint]) -> Vec<bool> {
        let bytes: Vec<Vec<u8>> = numbers.iter().map(BigUint::to_bytes_be).collect();
        let alone =
            bytes.iter().map(|n| Candidate::new(n).and_then(|c| c.may_be_prime()).ok().expect("memory")).collect();
        if let Some(vectors) = Vectors::here() {
            assert_eq!(vectors.may_be_primes(&bytes), alone);
        }
        alone
    }

    #[test]
    fn primes_at_the_edges_pass() {
        let two = |power: usize| BigUint::from(1u8) << power;
        let small = |n: u32| BigUint::from(n);
        let primes = [
            two(1536) - small(3453),
            two(1535) + small(699),
            two(1535) + two(1534) + small(1837),
            // The lowest limb of 52 bits is all ones, or one.
            two(1536) - small(862) * two(52) - small(1),
            two(1536) - small(649) * two(52) + small(1),
        ];
        assert_eq!(passing(&primes), [true; 5]);
        let others = primes.clone().map(|p| p - small(2));
        assert_eq!(passing(&others), [false; 5]);
        // In any place.
        let mut mixed: Vec<BigUint> = primes.into_iter().zip(others).flat_map(<[BigUint; 2]>::from).collect();
        mixed.truncate(LANES);
        assert_eq!(passing(&mixed), [true, false].repeat(LANES / 2));
        mixed.reverse();
        assert_eq!(passing(&mixed), [false, true].repeat(LANES / 2));
    }

    #[test]
    fn random_numbers_pass_alike() {
        let random: [BigUint; LANES] = std::array::from_fn(|_| {
            let mut bytes = [0; BITS / 8];
            OsRng.fill_bytes(&mut bytes);
            bytes[0] |= 0x80;
            bytes[BITS / 8 - 1] |= 1;
            BigUint::from_bytes_be(&bytes)
        });
        passing(&random);
    }

    #[test]
    fn rests_are_those_of_division() {
        let primes = std::array::from_fn(|i| [3, 4093, 65537, 524_269, 524_287][i % 5]);
        let some = std::array::from_fn(|i| (i as u32 + 1).wrapping_mul(0x9e37_79b9));
        for words in [[u32::MAX; BITS / 32], [0; BITS / 32], some] {
            let divided = primes.map(|p| words.iter().fold(0, |r, w| (r << 32 | u64::from(*w)) % u64::from(p)) as u32);
            assert_eq!(rests_by_words(&words, &primes), divided);
            if let Some(vectors) = Vectors::here() {
                assert_eq!(vectors.rests(&words, &primes), divided);
            }
        }
    }
}

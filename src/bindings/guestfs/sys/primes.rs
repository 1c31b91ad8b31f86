//! Whether a large number is a prime, by the arithmetic of AWS-LC: its assembly is twice as fast as what Rust compiles to.

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

    /// Fermat's test of two numbers at once, to a base of as many words, less than both: less than half the cost, where
    /// the processor multiplies by vectors of 52 bits (`avx512ifma`) and the numbers have 1024, 1536 or 2048 bits.
    pub fn may_be_primes(&self, other: &Candidate, base: &[u8]) -> Result<(bool, bool)> {
        let (base, x, y) = (Number::of(base)?, Number::zero()?, Number::zero()?);
        let (a, b) = (self, other);
        // SAFETY: all of these live, the results are others than the arguments, and the base is less than the moduli.
        ok(unsafe {
            BN_mod_exp_mont_consttime_x2(
                x.0.as_ptr(),
                base.0.as_ptr(),
                a.minus_one.0.as_ptr(),
                a.n.0.as_ptr(),
                a.mont.0.as_ptr(),
                y.0.as_ptr(),
                base.0.as_ptr(),
                b.minus_one.0.as_ptr(),
                b.n.0.as_ptr(),
                b.mont.0.as_ptr(),
                a.ctx.0.as_ptr(),
            )
        })?;
        // SAFETY: both live, and are only read.
        Ok(unsafe { (BN_is_one(x.0.as_ptr()) == 1, BN_is_one(y.0.as_ptr()) == 1) })
    }

    /// Miller and Rabin's test to a base of less than the number: false proves that it is none.
    pub fn passes(&self, base: &[u8]) -> Result<bool> {
        let (base, x, (odd, twos)) = (Number::of(base)?, Number::zero()?, self.odd_part()?);
        let (n, ctx, mont) = (self.n.0.as_ptr(), self.ctx.0.as_ptr(), self.mont.0.as_ptr());
        // SAFETY: all of these live, and the result is another than the arguments.
        ok(unsafe { BN_mod_exp_mont(x.0.as_ptr(), base.0.as_ptr(), odd.0.as_ptr(), n, ctx, mont) })?;
        self.ends_well(x, twos)
    }

    /// The same to two bases of as many words as the number, at the cost of less than one (see `may_be_primes`).
    pub fn passes_both(&self, bases: [&[u8]; 2]) -> Result<bool> {
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

//! RSA keys of 3072 bits, and their primes made ahead of need: they are most of the work that a clone is.

use crate::bindings::guestfs::sys::primes::{Candidate, NoMemory, give_way};
use rsa::{BigUint, RsaPrivateKey};
use ssh_key::private::RsaKeypair;
use ssh_key::rand_core::{OsRng, RngCore};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bits of a key, as ssh-keygen makes them.
pub const BITS: usize = 3072;
const LIMBS: usize = BITS / 2 / 64;
const EXPONENT: u32 = 65537;

/// Odd numbers from a random one on, of which the first prime is taken. One in 530 is.
const WINDOW: usize = 4096;
/// Primes below this are tried before the costly test; more would cost more than they save.
const SMALL: usize = 1 << 17;
/// FIPS 186-4, C.3: wrong once in 2^128, for numbers of this size.
const ROUNDS: usize = 4;

/// A prime of half the key's bits, the highest byte first.
type Prime = Vec<u8>;

/// What cannot be had.
pub type Failed = ssh_key::Error;

fn small_primes() -> &'static [u32] {
    static PRIMES: OnceLock<Vec<u32>> = OnceLock::new();
    PRIMES.get_or_init(|| {
        let mut composite = vec![false; SMALL];
        let mut primes = Vec::new();
        for n in (3..SMALL).step_by(2) {
            if !composite[n] {
                primes.push(n as u32);
                (n * n..SMALL).step_by(2 * n).for_each(|m| composite[m] = true);
            }
        }
        primes
    })
}

/// The rest of a number, its highest word first, by a small prime. Division takes four times as long.
fn rest(words: &[u32; 2 * LIMBS], prime: u32) -> u64 {
    let prime = u64::from(prime);
    let inverse = u64::MAX / prime;
    words.iter().fold(0, |rest, word| {
        let value = rest << 32 | u64::from(*word);
        let quotient = ((u128::from(value) * u128::from(inverse)) >> 64) as u64;
        let rest = value - quotient * prime;
        if rest >= prime { rest - prime } else { rest }
    })
}

/// Which of the odd numbers from `base` on no small prime divides; and not one more than a multiple of the exponent,
/// which would have no inverse of it.
fn sieve(base: &[u32; 2 * LIMBS]) -> Vec<bool> {
    let mut left = vec![true; WINDOW];
    let mut strike = |prime: u32, rest: u64| {
        let prime = u64::from(prime);
        // base + 2 i is a multiple of the prime.
        let first = (prime - rest) % prime * prime.div_ceil(2) % prime;
        (first as usize..WINDOW).step_by(prime as usize).for_each(|i| left[i] = false);
    };
    for prime in small_primes() {
        strike(*prime, rest(base, *prime));
    }
    let of_exponent = rest(base, EXPONENT);
    strike(EXPONENT, (of_exponent + u64::from(EXPONENT) - 1) % u64::from(EXPONENT));
    left
}

fn plus(base: &[u32; 2 * LIMBS], n: usize) -> Prime {
    let mut carry = n as u64;
    let mut words = *base;
    for word in words.iter_mut().rev() {
        carry += u64::from(*word);
        *word = carry as u32;
        carry >>= 32;
    }
    words.iter().flat_map(|w| w.to_be_bytes()).collect()
}

fn random() -> Result<Prime, Failed> {
    let mut bytes = vec![0; BITS / 16];
    OsRng.try_fill_bytes(&mut bytes).map_err(|_| Failed::Crypto)?;
    Ok(bytes)
}

/// A random number less than any that we take for a prime, whose two highest bits are set, and more than 1.
fn base() -> Result<Prime, Failed> {
    let mut base = random()?;
    base[0] &= 0x7f;
    base[0] |= 0x40;
    Ok(base)
}

fn no(_: NoMemory) -> Failed {
    Failed::Crypto
}

fn is_prime(candidate: &Candidate) -> Result<bool, Failed> {
    for _ in 0..ROUNDS / 2 {
        let (a, b) = (base()?, base()?);
        let passes = match vectors() {
            true => candidate.passes_both([&a, &b]).map_err(no)?,
            false => candidate.passes(&a).map_err(no)? && candidate.passes(&b).map_err(no)?,
        };
        if !passes {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first prime of two numbers.
fn prime_of(two: &[Prime], base: &[u8]) -> Result<Option<Prime>, Failed> {
    let tested: Vec<Candidate> = two.iter().map(|n| Candidate::new(n)).collect::<Result<_, _>>().map_err(no)?;
    let promising = match tested.as_slice() {
        [a, b] if vectors() => <[bool; 2]>::from(a.may_be_primes(b, base).map_err(no)?).to_vec(),
        one_by_one => one_by_one.iter().map(Candidate::may_be_prime).collect::<Result<_, _>>().map_err(no)?,
    };
    for i in (0..two.len()).filter(|i| promising[*i]) {
        if is_prime(&tested[i])? {
            return Ok(Some(two[i].clone()));
        }
    }
    Ok(None)
}

/// Whether two tests at once are faster than one after the other.
fn vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512ifma");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn make() -> Result<Prime, Failed> {
    let witness = base()?;
    loop {
        let mut start = random()?;
        // Both primes at least the root of one half: the product has all its bits.
        start[0] |= 0xc0;
        if let Some(last) = start.last_mut() {
            *last |= 1;
        }
        let mut base = [0; 2 * LIMBS];
        for (word, bytes) in base.iter_mut().zip(start.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |w, b| w << 8 | u32::from(*b));
        }
        let left = sieve(&base);
        let candidates: Vec<usize> = (0..WINDOW).filter(|i| left[*i]).collect();
        for two in candidates.chunks(2) {
            let two: Vec<Prime> = two.iter().map(|i| plus(&base, 2 * i)).collect();
            if let Some(prime) = prime_of(&two, &witness)? {
                return Ok(prime);
            }
        }
    }
}

/// Primes that nobody has taken yet.
#[derive(Default)]
struct Stock {
    primes: Vec<Prime>,
    /// Not yet begun.
    wanted: usize,
    making: usize,
    makers: usize,
    waiting: usize,
}

/// More are not kept ready; who takes one sets the makers going again.
const READY: usize = 24;

static STOCK: Mutex<Stock> = Mutex::new(Stock { primes: Vec::new(), wanted: 0, making: 0, makers: 0, waiting: 0 });
static CHANGED: Condvar = Condvar::new();

fn stock() -> MutexGuard<'static, Stock> {
    STOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(guard: MutexGuard<'static, Stock>) -> MutexGuard<'static, Stock> {
    CHANGED.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Begins to make the primes of so many keys, on every core of this host.
pub fn ahead(keys: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut s = stock();
    s.wanted = s.wanted.max(2 * keys);
    for _ in s.makers..cores.min(s.wanted) {
        if std::thread::Builder::new().name("primes".into()).spawn(maker).is_ok() {
            s.makers += 1;
        }
    }
}

fn maker() {
    // A clone has its connections to make meanwhile, and waits for them first.
    give_way();
    let mut s = stock();
    while s.wanted > 0 {
        if s.primes.len() + s.making >= READY {
            s = wait(s);
            continue;
        }
        s.wanted -= 1;
        s.making += 1;
        drop(s);
        let made = make();
        s = stock();
        s.making -= 1;
        match made {
            Ok(prime) => s.primes.push(prime),
            // Whoever needs one tries it himself, and tells.
            Err(_) => s.wanted = 0,
        }
        CHANGED.notify_all();
    }
    s.makers -= 1;
}

/// A prime that is ready, or the next to be: made here, unless one is on its way.
fn take() -> Result<Prime, Failed> {
    let mut s = stock();
    loop {
        if let Some(prime) = s.primes.pop() {
            CHANGED.notify_all();
            return Ok(prime);
        }
        if s.making <= s.waiting {
            s.wanted = s.wanted.saturating_sub(1);
            drop(s);
            return make();
        }
        s.waiting += 1;
        s = wait(s);
        s.waiting -= 1;
    }
}

/// A new key.
///
/// # Errors
/// The system gives no random bytes, or no memory.
pub fn new() -> Result<RsaKeypair, Failed> {
    RsaKeypair::try_from(private()?)
}

fn private() -> Result<RsaPrivateKey, Failed> {
    let (p, q) = (BigUint::from_bytes_be(&take()?), BigUint::from_bytes_be(&take()?));
    RsaPrivateKey::from_p_q(p, q, EXPONENT.into()).map_err(|_| Failed::Crypto)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::traits::{PrivateKeyParts, PublicKeyParts};

    fn words(n: u64) -> [u32; 2 * LIMBS] {
        let mut base = [0; 2 * LIMBS];
        (base[2 * LIMBS - 2], base[2 * LIMBS - 1]) = ((n >> 32) as u32, n as u32);
        base
    }

    #[test]
    fn rests_are_those_of_division() {
        for n in [1, 65537, 0xffff_ffff_ffff_ffff, 0x1234_5678_9abc_def1] {
            for prime in small_primes().iter().step_by(97).chain([&EXPONENT]) {
                assert_eq!(rest(&words(n), *prime), n % u64::from(*prime), "{n} by {prime}");
            }
        }
    }

    #[test]
    fn the_sieve_leaves_primes_alone() {
        let base = 0xffff_ffff_0001;
        let left = sieve(&words(base));
        for (i, left) in left.iter().enumerate() {
            let n = base + 2 * i as u64;
            let divided =
                small_primes().iter().any(|p| n.is_multiple_of(u64::from(*p))) || n % u64::from(EXPONENT) == 1;
            assert_eq!(*left, !divided, "{n}");
        }
    }

    #[test]
    fn primes_are_known_from_others() {
        // 2^521 - 1 and 2^607 - 1 are primes; their product, and 2^523 - 1, are none.
        let mersenne =
            |bits: usize| BigUint::from_bytes_be(&vec![0xff; bits.div_ceil(8)]) >> (bits.div_ceil(8) * 8 - bits);
        let tested = |n: BigUint| {
            let c = Candidate::new(&n.to_bytes_be()).ok().expect("memory");
            let passes = |b: &[u8]| c.passes(b).ok().expect("memory");
            (c.may_be_prime().ok().expect("memory"), passes(&[3]) && passes(&[5, 7]))
        };
        assert_eq!(tested(mersenne(521)), (true, true));
        assert_eq!(tested(mersenne(607)), (true, true));
        assert_eq!(tested(mersenne(523)), (true, false), "a Mersenne number is a pseudoprime to base 2");
        assert_eq!(tested(mersenne(521) * mersenne(607)), (false, false));
        // The tenth Fermat number: the number less one is all twos.
        assert_eq!(tested((BigUint::from(1u8) << 1024) + BigUint::from(1u8)), (true, false));
    }

    #[test]
    fn two_at_once_as_one_by_one() {
        let (prime, base) = (make().expect("a prime"), base().expect("a base"));
        let n = BigUint::from_bytes_be(&prime);
        // A twin of it is rare: both places, and nearly always both verdicts.
        let other = (&n + BigUint::from(2u8)).to_bytes_be();
        let c = |bytes: &[u8]| Candidate::new(bytes).ok().expect("memory");
        let (a, b) = (c(&prime), c(&other));
        let alone = |c: &Candidate| c.may_be_prime().ok().expect("memory");
        assert_eq!(a.may_be_primes(&b, &base).ok().expect("memory"), (true, alone(&b)));
        assert_eq!(b.may_be_primes(&a, &base).ok().expect("memory"), (alone(&b), true));
        assert!(alone(&a));
        let second = super::base().expect("a base");
        let both = |c: &Candidate| c.passes_both([&base, &second]).ok().expect("memory");
        assert!(both(&a) && both(&b) == alone(&b));
    }

    #[test]
    fn keys_ahead_and_keys_in_a_hurry() {
        ahead(1);
        let keys = [private().expect("a key"), private().expect("another")];
        assert_ne!(keys[0].n(), keys[1].n());
        for key in keys {
            key.validate().expect("sound");
            let (p, q) = (&key.primes()[0], &key.primes()[1]);
            assert!(key.n().bits() == BITS && p.bits() == BITS / 2 && q.bits() == BITS / 2);
            // Numbers that are close to each other are found from their product.
            let far = if p > q { p - q } else { q - p };
            assert!(far.bits() > BITS / 2 - 100);
        }
    }
}

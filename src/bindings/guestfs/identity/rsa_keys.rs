//! RSA keys of 3072 bits, and their primes made ahead of need: they are most of the work that a clone is.

use crate::bindings::guestfs::sys::primes::{
    self, Candidate, GROUP, NoMemory, at_once, give_way, may_be_primes, rests,
};
use rsa::{BigUint, RsaPrivateKey};
use ssh_key::private::RsaKeypair;
use ssh_key::rand_core::{OsRng, RngCore};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bits of a key, as ssh-keygen makes them.
pub const BITS: usize = 2 * primes::BITS;
const LIMBS: usize = BITS / 2 / 64;
const EXPONENT: u32 = 65537;

/// Odd numbers from a random one on, of which the first prime is taken. One in 530 is.
const WINDOW: usize = 4096;
/// Primes below this are tried before the costly test; more would cost more than they save.
const SMALL: usize = 1 << 19;
/// FIPS 186-4, C.3: wrong once in 2^128, for numbers of this size.
const ROUNDS: usize = 4;

/// A prime of half the key's bits, the highest byte first.
type Prime = Vec<u8>;

/// What cannot be had.
pub type Failed = ssh_key::Error;

/// The odd ones below `SMALL`, the last group filled up.
fn small_primes() -> &'static [[u32; GROUP]] {
    static GROUPS: OnceLock<Vec<[u32; GROUP]>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let mut composite = vec![false; SMALL];
        let mut primes = Vec::new();
        for n in (3..SMALL).step_by(2) {
            if !composite[n] {
                primes.push(n as u32);
                (n * n..SMALL).step_by(2 * n).for_each(|m| composite[m] = true);
            }
        }
        primes.resize(primes.len().next_multiple_of(GROUP), primes[0]);
        primes.as_chunks().0.to_vec()
    })
}

/// Which of the odd numbers from `base` on no small prime divides; and not one more than a multiple of the exponent,
/// which would have no inverse of it.
fn sieve(base: &[u32; 2 * LIMBS]) -> Vec<bool> {
    let mut left = vec![true; WINDOW];
    let mut strike = |prime: u32, rest: u32| {
        // base + 2 i is a multiple of the prime. No branch for odd and even: half of its predictions would be wrong.
        let missing = if rest == 0 { 0 } else { prime - rest };
        let first = (missing + prime * (missing % 2)) / 2;
        (first as usize..WINDOW).step_by(prime as usize).for_each(|i| left[i] = false);
    };
    for group in small_primes() {
        for (prime, rest) in group.iter().zip(rests(base, group)) {
            strike(*prime, rest);
        }
    }
    let of_exponent = rests(base, &[EXPONENT; GROUP])[0];
    strike(EXPONENT, (of_exponent + EXPONENT - 1) % EXPONENT);
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

fn is_prime(n: &[u8]) -> Result<bool, Failed> {
    let candidate = Candidate::new(n).map_err(no)?;
    for _ in 0..ROUNDS / 2 {
        if !candidate.passes_both([&base()?, &base()?]).map_err(no)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn make() -> Result<Prime, Failed> {
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
        for some in candidates.chunks(at_once()) {
            let some: Vec<Prime> = some.iter().map(|i| plus(&base, 2 * i)).collect();
            let promising = may_be_primes(&some).map_err(no)?;
            for (n, _) in some.into_iter().zip(promising).filter(|(_, promising)| *promising) {
                if is_prime(&n)? {
                    return Ok(n);
                }
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
    fn the_sieve_leaves_primes_alone() {
        let base = 0xffff_ffff_0001;
        let left = sieve(&words(base));
        for (i, left) in left.iter().enumerate() {
            let n = base + 2 * i as u64;
            let divided = small_primes().as_flattened().iter().any(|p| n.is_multiple_of(u64::from(*p)))
                || n % u64::from(EXPONENT) == 1;
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
    fn many_at_once_as_one_by_one() {
        let mut base: [u32; 2 * LIMBS] = std::array::from_fn(|i| (i as u32 + 1).wrapping_mul(0x9e37_79b9));
        base[2 * LIMBS - 1] |= 1;
        let alone = |n: &Prime| Candidate::new(n).and_then(|c| c.may_be_prime()).ok().expect("memory");
        let left = sieve(&base);
        let candidates: Vec<Prime> = (0..WINDOW).filter(|i| left[*i]).map(|i| plus(&base, 2 * i)).collect();
        let first = candidates.iter().position(alone).expect("a prime in the window");
        let some = &candidates[first.saturating_sub(10)..=first];
        let found: Vec<bool> =
            some.chunks(at_once()).flat_map(|some| may_be_primes(some).ok().expect("memory")).collect();
        assert_eq!(found, some.iter().map(alone).collect::<Vec<_>>());
        assert!(is_prime(&candidates[first]).expect("random bytes"));
        if first > 0 {
            assert!(!is_prime(&candidates[first - 1]).expect("random bytes"));
        }
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

//! Loads C libraries on first use, so that what is not needed need not be installed.

#![allow(unsafe_code)]

use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_void};

/// Opens the first of `names`; the error names the package that brings it.
pub fn open(names: &[&str], package: &str) -> Result<Handle> {
    let mut why = String::new();
    for name in names {
        let c = CString::new(*name).map_err(|e| Error::failed(e.to_string()))?;
        // SAFETY: a NUL-terminated name; the libraries' constructors are those of Ceph, libvirt and libguestfs.
        let h = unsafe { libc::dlopen(c.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if !h.is_null() {
            return Ok(Handle(h));
        }
        why = last_error();
    }
    Err(Error::unsupported(format!("{} is not installed ({why})", names[0])).hint(format!("apt install {package}")))
}

fn last_error() -> String {
    // SAFETY: dlerror gives NULL or a NUL-terminated string valid until the next dl call of this thread.
    unsafe {
        let e = libc::dlerror();
        if e.is_null() { "no reason given".into() } else { CStr::from_ptr(e).to_string_lossy().into_owned() }
    }
}

/// An open library. Never closed: function pointers into it live as long as the process.
pub struct Handle(*mut c_void);
// SAFETY: dlsym may be called from any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// The address of a symbol, or `None` in a library too old to have it.
    pub fn symbol(&self, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: an open handle and a NUL-terminated name.
        let p = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if p.is_null() { None } else { Some(p) }
    }
}

/// A table of C functions, filled on first use.
///
/// ```ignore
/// c_table! { pub Rbd: ["librbd.so.1"], "librbd1" {
///     fn rbd_close(image: *mut c_void) -> c_int;
/// } }
/// let t = Rbd::get()?;   // then: unsafe { (t.rbd_close)(image) }
/// ```
#[macro_export]
macro_rules! c_table {
    ($vis:vis $table:ident: [$($lib:literal),+], $package:literal { $(fn $f:ident($($a:ident: $t:ty),* $(,)?) $(-> $r:ty)?;)* }) => {
        #[allow(non_snake_case)]
        $vis struct $table { $(pub $f: unsafe extern "C" fn($($t),*) $(-> $r)?,)* }
        impl $table {
            pub fn get() -> $crate::error::Result<&'static $table> {
                static TABLE: std::sync::OnceLock<$crate::error::Result<$table>> = std::sync::OnceLock::new();
                TABLE.get_or_init(|| {
                    let lib = $crate::bindings::sys::open(&[$($lib),+], $package)?;
                    Ok($table { $($f: {
                        let name = concat!(stringify!($f), "\0");
                        let name = std::ffi::CStr::from_bytes_with_nul(name.as_bytes())
                            .map_err(|e| $crate::error::Error::failed(e.to_string()))?;
                        let p = lib.symbol(name).ok_or_else(|| $crate::error::Error::unsupported(format!(
                            "{} has no function {}: the library is too old", $package, stringify!($f))))?;
                        // SAFETY: the signature is the one of the library's header, checked by hand beside it.
                        unsafe { std::mem::transmute::<*mut std::ffi::c_void, unsafe extern "C" fn($($t),*) $(-> $r)?>(p) }
                    },)* })
                }).as_ref().map_err(Clone::clone)
            }
        }
    };
}

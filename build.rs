//! Writes the assembler stubs behind which libvirt loads on first use (see src/bindings/virsh/sys.rs).
//!
//! The `virt` crate calls C functions by name, so a plain build would link libvirt, and `zs --help` would start 57
//! libraries and refuse to run without them. One stub per name satisfies the linker instead; `--as-needed`, which
//! rustc passes, then leaves libvirt out of NEEDED.

use std::fmt::Write;
use std::path::Path;

const SYMBOLS: &str = "src/bindings/virsh/symbols.txt";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={SYMBOLS}");
    println!("cargo::rerun-if-changed=build.rs");
    let list = std::fs::read_to_string(SYMBOLS)?;
    let names: Vec<&str> = list.lines().filter(|l| !l.is_empty()).collect();
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let asm = assembler(&names, &arch)?;
    let rust = format!(
        "std::arch::global_asm!(r#\"\n{asm}\"#);\n\
         /// The functions behind the stubs, in the order of the table.\n\
         pub static NAMES: [&std::ffi::CStr; {}] = [{}];\n",
        names.len(),
        names.iter().map(|n| format!("c{n:?}")).collect::<Vec<_>>().join(", ")
    );
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("libvirt_stubs.rs"), rust)?;
    Ok(())
}

/// A stub jumps through its slot of the table; an empty slot leads to `zs_libvirt_missing` with its number.
///
/// Hidden, so that libvirt's own calls between its functions never come to the stubs.
fn assembler(names: &[&str], arch: &str) -> Result<String, String> {
    let mut text = String::from(".text\n");
    let mut table = String::from(
        ".section .data.rel.zs_libvirt,\"aw\",%progbits\n.balign 8\n\
         .globl zs_libvirt_table\n.hidden zs_libvirt_table\nzs_libvirt_table:\n",
    );
    for (i, name) in names.iter().enumerate() {
        let at = i * 8;
        let (jump, missing) = match arch {
            "x86_64" => (
                format!("jmp qword ptr [rip + zs_libvirt_table + {at}]"),
                format!("mov edi, {i}\njmp zs_libvirt_missing"),
            ),
            "aarch64" => (
                format!("adrp x16, zs_libvirt_table + {at}\nldr x16, [x16, :lo12:zs_libvirt_table + {at}]\nbr x16"),
                format!("mov w0, #{i}\nb zs_libvirt_missing"),
            ),
            other => return Err(format!("no libvirt stubs for {other} yet: add the two instructions in build.rs")),
        };
        write!(
            text,
            ".balign 16\n.globl {name}\n.hidden {name}\n.type {name},%function\n{name}:\n{jump}\n\
             .Lzs_missing_{i}:\n{missing}\n.size {name}, . - {name}\n"
        )
        .map_err(|e| e.to_string())?;
        writeln!(table, ".quad .Lzs_missing_{i}").map_err(|e| e.to_string())?;
    }
    Ok(format!("{text}{table}.text\n"))
}

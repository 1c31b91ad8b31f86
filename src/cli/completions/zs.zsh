#compdef zs
# Completion of zs for zsh: put it as _zs into a directory of $fpath, or `source <(zs completions zsh)` after compinit.
_zs() {
    local -a found
    local line value
    local files=0
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            files=1
        else
            value=${line%%$'\t'*}
            value=${value//:/\\:}
            [[ $line == *$'\t'* ]] && value+=":${line#*$'\t'}"
            found+=("$value")
        fi
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null </dev/null)
    # `--option=value`: what is completed is the value.
    compset -P '--*='
    (( ${#found} )) && _describe -t zs zs found
    (( files )) && _files
    return 0
}
if [[ $funcstack[1] == _zs ]]; then _zs "$@"; else compdef _zs zs; fi

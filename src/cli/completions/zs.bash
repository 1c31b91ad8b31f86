# Completion of zs for bash: put it into /etc/bash_completion.d, or `eval "$(zs completions bash)"`.
_zs() {
    local reply cur=${COMP_WORDS[COMP_CWORD]}
    mapfile -t reply < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null </dev/null)
    COMPREPLY=()
    [[ $cur == = ]] && cur=
    local line
    for line in "${reply[@]}"; do
        case $line in
            :files) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/.=] ]] && compopt -o nospace
    return 0
}
complete -F _zs zs

# Completion of zs for fish: put it into ~/.config/fish/completions, or `zs completions fish | source`.
function __zs_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete -- $words[2..] "$current" 2>/dev/null </dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c zs -f -a '(__zs_complete)'

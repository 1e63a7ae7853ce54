//! `docker completion`: scripts by which shells complete commands, flags and names. They ask the hidden command `__complete`.

use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

pub(super) const COMMAND: Command = Command {
    name: "completion",
    top: Some("completion"),
    short: "Generate the autocompletion script for the specified shell",
    long: "Generate the autocompletion script for bash, zsh or fish.\n\n  bash:  source <(ferry completion bash)\n  zsh:   ferry completion zsh > \"${fpath[1]}/_ferry\"\n  fish:  ferry completion fish | source",
    usage: "bash|zsh|fish",
    args: Args::Exactly(1),
    hidden: true,
    run,
    ..Command::NEW
};

/// Words are taken from the line as it was typed: bash would break them at colons.
const BASH: &str = r#"# bash completion for NAME
_NAME_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" words out cut=""
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    out=$(NAME __complete "${words[@]:1}" 2>/dev/null) || return
    local last="${words[${#words[@]}-1]}"
    [[ "$last" == *:* && "$COMP_WORDBREAKS" == *:* ]] && cut="${last%"${last##*:}"}"
    [[ "$last" == *=* && "$COMP_WORDBREAKS" == *=* ]] && cut="${last%"${last##*=}"}"
    COMPREPLY=()
    local candidate
    while IFS=$'\t' read -r candidate _; do
        case "$candidate" in
            :0) compopt -o default ;;
            :*) ;;
            ?*) COMPREPLY+=("${candidate#"$cut"}") ;;
        esac
    done <<< "$out"
}
complete -F _NAME_complete NAME
"#;

const ZSH: &str = r#"#compdef NAME
_NAME() {
    local -a candidates
    local line files=0
    for line in "${(@f)$(NAME __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case "$line" in
            :0) files=1 ;;
            :*|'') ;;
            *) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    (( ${#candidates} )) && _describe 'NAME' candidates
    (( files )) && _files
}
compdef _NAME NAME
"#;

const FISH: &str = r#"# fish completion for NAME
function __NAME_complete
    set -l words (commandline -opc) (commandline -ct)
    NAME __complete $words[2..-1] 2>/dev/null | string match -v -r '^:'
end
complete -c NAME -f -a '(__NAME_complete)'
"#;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let script = match matches.arg(0) {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        other => {
            return Err(CliError::new(format!(
                "completion for {other} is not supported: use bash, zsh or fish"
            )));
        }
    };
    cli.print(&script.replace("NAME", cli.program()))?;
    Ok(0)
}

# bash completion for gavel, made from its option tables
_gavel_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
_gavel() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options=--help
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'judge run plan validate info render parse tokenize logits inspect export verify quantize merge bench pull push --help --version' -- "$cur")
        return
    fi
    if [[ $cur == '=' ]]; then cur=; elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
    case ${COMP_WORDS[1]} in
    judge)
        case $prev in
        --model|-m) _gavel_files; return ;;
        --chat-template) _gavel_files; return ;;
        --rubric|-r) _gavel_files; return ;;
        --rubric-col) _gavel_files; return ;;
        --mode) mapfile -t COMPREPLY < <(compgen -W 'absolute relative' -- "$cur"); return ;;
        --prompt|-p) mapfile -t COMPREPLY < <(compgen -W 'distilabel prometheus-eval paper raw' -- "$cur"); return ;;
        --verdict) mapfile -t COMPREPLY < <(compgen -W 'strict lenient robust constrained' -- "$cur"); return ;;
        --order) mapfile -t COMPREPLY < <(compgen -W 'given both random' -- "$cur"); return ;;
        --samples) return ;;
        --preset) mapfile -t COMPREPLY < <(compgen -W 'prometheus-eval distilabel' -- "$cur"); return ;;
        --temperature|-T) return ;;
        --top-p) return ;;
        --top-k) return ;;
        --min-p) return ;;
        --repetition-penalty) return ;;
        --presence-penalty) return ;;
        --frequency-penalty) return ;;
        --max-tokens|-n) return ;;
        --seed|-s) return ;;
        --map) _gavel_files; return ;;
        --config) _gavel_files; return ;;
        --split) _gavel_files; return ;;
        --limit|-l) return ;;
        --shard) _gavel_files; return ;;
        --id-col) _gavel_files; return ;;
        --out|-o) _gavel_files; return ;;
        --keep) _gavel_files; return ;;
        --threads|-t) return ;;
        --kernels) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        --kv) mapfile -t COMPREPLY < <(compgen -W 'f16 f32' -- "$cur"); return ;;
        --ctx) return ;;
        --weights) _gavel_files; return ;;
        --memory) return ;;
        --prompt-chunk) return ;;
        --weights-cache) _gavel_files; return ;;
        --max-batch) return ;;
        esac
        options='--model --chat-template --rubric --rubric-col --mode --reference --prompt --verdict --order --samples --expected-score --preset --temperature --top-p --top-k --min-p --repetition-penalty --presence-penalty --frequency-penalty --max-tokens --seed --map --config --split --limit --shard --id-col --out --keep --fresh --retry-failed --json --quiet --threads --kernels --kv --ctx --weights --memory --prompt-chunk --weights-cache --max-batch --no-prefix-cache --help'
        ;;
    run)
        case $prev in
        --param) _gavel_files; return ;;
        --dataset) _gavel_files; return ;;
        --config) _gavel_files; return ;;
        --split) _gavel_files; return ;;
        --model|-m) _gavel_files; return ;;
        --limit|-l) return ;;
        --out|-o) _gavel_files; return ;;
        --repo-id) _gavel_files; return ;;
        --threads|-t) return ;;
        --kernels) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        --kv) mapfile -t COMPREPLY < <(compgen -W 'f16 f32' -- "$cur"); return ;;
        --ctx) return ;;
        --weights) _gavel_files; return ;;
        --memory) return ;;
        --prompt-chunk) return ;;
        --weights-cache) _gavel_files; return ;;
        --max-batch) return ;;
        esac
        options='--param --dataset --config --split --model --limit --out --repo-id --private --dry-run --fresh --retry-failed --json --quiet --threads --kernels --kv --ctx --weights --memory --prompt-chunk --weights-cache --max-batch --no-prefix-cache --help'
        ;;
    plan)
        case $prev in
        --param) _gavel_files; return ;;
        --dataset) _gavel_files; return ;;
        --config) _gavel_files; return ;;
        --split) _gavel_files; return ;;
        --model|-m) _gavel_files; return ;;
        --sample) return ;;
        --threads|-t) return ;;
        --kernels) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        --kv) mapfile -t COMPREPLY < <(compgen -W 'f16 f32' -- "$cur"); return ;;
        --ctx) return ;;
        --weights) _gavel_files; return ;;
        --memory) return ;;
        --prompt-chunk) return ;;
        --weights-cache) _gavel_files; return ;;
        --max-batch) return ;;
        esac
        options='--param --dataset --config --split --model --sample --threads --kernels --kv --ctx --weights --memory --prompt-chunk --weights-cache --max-batch --help'
        ;;
    validate)
        case $prev in
        --param) _gavel_files; return ;;
        --dataset) _gavel_files; return ;;
        esac
        options='--param --dataset --help'
        ;;
    info)
        case $prev in
        --param) _gavel_files; return ;;
        --dataset) _gavel_files; return ;;
        esac
        options='--param --dataset --help'
        ;;
    render)
        case $prev in
        --rubric|-r) _gavel_files; return ;;
        --rubric-col) _gavel_files; return ;;
        --mode) mapfile -t COMPREPLY < <(compgen -W 'absolute relative' -- "$cur"); return ;;
        --prompt|-p) mapfile -t COMPREPLY < <(compgen -W 'distilabel prometheus-eval paper raw' -- "$cur"); return ;;
        --map) _gavel_files; return ;;
        --config) _gavel_files; return ;;
        --split) _gavel_files; return ;;
        --row) return ;;
        --model|-m) _gavel_files; return ;;
        --chat-template) _gavel_files; return ;;
        --template) _gavel_files; return ;;
        esac
        options='--rubric --rubric-col --mode --reference --prompt --map --config --split --row --model --chat-template --template --help'
        ;;
    parse)
        case $prev in
        --verdict) mapfile -t COMPREPLY < <(compgen -W 'strict lenient robust' -- "$cur"); return ;;
        esac
        options='--verdict --help'
        ;;
    tokenize)
        case $prev in
        --model|-m) _gavel_files; return ;;
        esac
        options='--model --special --decode --hex --help'
        ;;
    logits)
        case $prev in
        --model|-m) _gavel_files; return ;;
        --positions) mapfile -t COMPREPLY < <(compgen -W 'all last' -- "$cur"); return ;;
        --out|-o) _gavel_files; return ;;
        --threads|-t) return ;;
        --kernels) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        --kv) mapfile -t COMPREPLY < <(compgen -W 'f16 f32' -- "$cur"); return ;;
        --ctx) return ;;
        --weights) _gavel_files; return ;;
        --memory) return ;;
        --prompt-chunk) return ;;
        esac
        options='--model --positions --out --threads --kernels --kv --ctx --weights --memory --prompt-chunk --help'
        ;;
    inspect)
        case $prev in
        esac
        options='--cpu --tensors --help'
        ;;
    export)
        case $prev in
        --out|-o) _gavel_files; return ;;
        esac
        options='--out --all --help'
        ;;
    verify)
        case $prev in
        --rows) return ;;
        --input|-i) _gavel_files; return ;;
        --model|-m) _gavel_files; return ;;
        --chat-template) _gavel_files; return ;;
        --threads|-t) return ;;
        --kernels) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        --memory) return ;;
        --prompt-chunk) return ;;
        --weights-cache) _gavel_files; return ;;
        --max-batch) return ;;
        esac
        options='--rows --input --quiet --model --chat-template --threads --kernels --memory --prompt-chunk --weights-cache --max-batch --no-prefix-cache --help'
        ;;
    quantize)
        case $prev in
        --type) _gavel_files; return ;;
        --imatrix) _gavel_files; return ;;
        --calibrate) _gavel_files; return ;;
        --ctx) return ;;
        --threads|-t) return ;;
        --kernels) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        esac
        options='--type --imatrix --calibrate --ctx --requantize --threads --kernels --json --quiet --help'
        ;;
    merge)
        case $prev in
        --seed) return ;;
        --max-shard) return ;;
        --threads|-t) return ;;
        esac
        options='--seed --max-shard --threads --json --quiet --help'
        ;;
    bench)
        case $prev in
        --runs) return ;;
        --peak-ms) return ;;
        --peaks) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        --max-discarded) return ;;
        --bytes) return ;;
        --types) _gavel_files; return ;;
        --columns) _gavel_files; return ;;
        --tokens|-n) _gavel_files; return ;;
        --sequences) _gavel_files; return ;;
        --context) _gavel_files; return ;;
        --model|-m) _gavel_files; return ;;
        --chat-template) _gavel_files; return ;;
        --rubric|-r) _gavel_files; return ;;
        --rubrics) return ;;
        --samples) return ;;
        --prompt|-p) mapfile -t COMPREPLY < <(compgen -W 'distilabel prometheus-eval paper raw' -- "$cur"); return ;;
        --map) _gavel_files; return ;;
        --limit|-l) return ;;
        --threads|-t) return ;;
        --kernels) mapfile -t COMPREPLY < <(compgen -W 'ref avx2 avxvnni avx512 amx neon' -- "$cur"); return ;;
        --kv) mapfile -t COMPREPLY < <(compgen -W 'f16 f32' -- "$cur"); return ;;
        --ctx) return ;;
        --weights) _gavel_files; return ;;
        --memory) return ;;
        --prompt-chunk) return ;;
        --max-batch) return ;;
        esac
        options='--runs --peak-ms --peaks --max-discarded --bytes --types --columns --tokens --sequences --context --model --chat-template --rubric --rubrics --samples --prompt --map --limit --threads --kernels --kv --ctx --weights --memory --prompt-chunk --max-batch --no-prefix-cache --help'
        ;;
    pull)
        case $prev in
        --repo-type) mapfile -t COMPREPLY < <(compgen -W 'model dataset' -- "$cur"); return ;;
        --include) _gavel_files; return ;;
        --parallel) return ;;
        --retries) return ;;
        esac
        options='--repo-type --include --dry-run --parallel --retries --json --quiet --help'
        ;;
    push)
        case $prev in
        --repo-type) mapfile -t COMPREPLY < <(compgen -W 'model dataset' -- "$cur"); return ;;
        --include) _gavel_files; return ;;
        --delete) _gavel_files; return ;;
        --message) _gavel_files; return ;;
        --retries) return ;;
        esac
        options='--repo-type --include --delete --private --message --dry-run --retries --json --quiet --help'
        ;;
    esac
    case $cur in
    -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur") ;;
    *) _gavel_files ;;
    esac
}
complete -F _gavel gavel

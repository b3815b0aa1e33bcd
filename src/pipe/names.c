/* The classes of distilabel that gavel runs, by name, and the parameters each has: tables, complete for distilabel 1.0 to
 * 1.5 (tests/data/pipelines/arguments.json).  Module paths are not looked at, because they changed from version to version while the names
 * stayed. */
#include "pipe/pipe_internal.h"

/* An integer from `least` on; the other kinds have no bound. */
#define COUNT(name, least)                                                                                                                 \
    { name, ARG_INT, least }
#define FLAG(name)                                                                                                                         \
    { name, ARG_BOOL, 0 }
#define TEXT(name)                                                                                                                         \
    { name, ARG_TEXT, 0 }
#define ANY(name)                                                                                                                          \
    { name, ARG_ANY, 0 }
#define OBJECT(name)                                                                                                                       \
    { name, ARG_OBJECT, 0 }

const pipe_param pipe_resource_params[] = {COUNT("replicas", 1), COUNT("cpus", 1),    COUNT("gpus", 1),
                                           COUNT("memory", 1),   OBJECT("resources"), {0}};

#define COMMON  {"resources", ARG_RESOURCES, 0}, {"input_mappings", ARG_MAP, 0}, {"output_mappings", ARG_MAP, 0}, FLAG("use_cache")
#define LOADING COMMON, COUNT("batch_size", 1)
#define WORKING COMMON, COUNT("input_batch_size", 1)
/* -1 as 0: all */
#define ROWS                                                                                                                               \
    TEXT("split"), TEXT("config"), TEXT("revision"), COUNT("num_examples", -1), {"storage_options", ARG_SECRETS, 0}, FLAG("streaming")

static const pipe_param hub_params[] = {LOADING, ROWS, TEXT("repo_id"), {0}};
static const pipe_param dicts_params[] = {LOADING, {0}};
static const pipe_param files_params[] = {LOADING, ROWS, {"data_files", ARG_FILES, 0}, TEXT("filetype"), {0}};
static const pipe_param disk_params[] = {LOADING, ROWS, TEXT("dataset_path"), FLAG("is_distiset"), FLAG("keep_in_memory"), {0}};
static const pipe_param judge_params[] = {WORKING,
                                          {"llm", ARG_LLM, 0},
                                          FLAG("group_generations"),
                                          FLAG("add_raw_output"),
                                          FLAG("add_raw_input"),
                                          COUNT("num_generations", INT64_MIN),
                                          FLAG("use_default_structured_output"),
                                          TEXT("mode"),
                                          TEXT("rubric"),
                                          ANY("rubrics"),
                                          FLAG("reference"),
                                          {0}};
static const pipe_param keep_params[] = {WORKING, ANY("columns"), {0}};
static const pipe_param group_params[] = {WORKING, ANY("columns"), ANY("output_columns"), {0}};
static const pipe_param combine_params[] = {WORKING, {0}};
static const pipe_param expand_params[] = {WORKING, ANY("columns"), {"encoded", ARG_BOOL_OR_NAMES, 0}, FLAG("split_statistics"), {0}};

static const pipe_class classes[] = {
    {"LoadDataFromHub", PIPE_LOAD_HUB, hub_params},
    {"LoadHubDataset", PIPE_LOAD_HUB, hub_params}, /* its name in 1.0 */
    {"LoadDataFromDicts", PIPE_LOAD_DICTS, dicts_params},
    {"LoadDataFromFileSystem", PIPE_LOAD_FILES, files_params},
    {"LoadFromFileSystem", PIPE_LOAD_FILES, files_params}, /* its name in 1.2 */
    {"LoadDataFromDisk", PIPE_LOAD_DISK, disk_params},
    {"LoadFromDisk", PIPE_LOAD_DISK, disk_params}, /* likewise */
    {"PrometheusEval", PIPE_JUDGE, judge_params},
    {"KeepColumns", PIPE_KEEP, keep_params},
    {"GroupColumns", PIPE_GROUP, group_params},
    {"CombineColumns", PIPE_GROUP, group_params}, /* until 1.3 */
    {"CombineOutputs", PIPE_COMBINE, combine_params},
    {"ExpandColumns", PIPE_EXPAND, expand_params},
};

/* Of all LLMs; cuda_devices and jobs_ids are a text or a list. */
#define ANY_LLM                                                                                                                            \
    {"generation_kwargs", ARG_KWARGS, 0}, OBJECT("structured_output"), FLAG("use_offline_batch_generation"),                               \
        COUNT("offline_batch_generation_block_until_done", 0), ANY("jobs_ids")
#define MAGPIE FLAG("use_magpie_template"), TEXT("magpie_pre_query_template")
#define CUDA   ANY("cuda_devices"), FLAG("disable_cuda_device_placement")
#define SERVER                                                                                                                             \
    TEXT("model"), TEXT("base_url"), {"api_key", ARG_SECRET, 0}, {"default_headers", ARG_SECRETS, 0}, COUNT("max_retries", 0), {           \
        "timeout", ARG_NUMBER, 0                                                                                                           \
    }

static const pipe_param vllm_params[] = {ANY_LLM,
                                         MAGPIE,
                                         CUDA,
                                         TEXT("model"),
                                         TEXT("dtype"),
                                         FLAG("trust_remote_code"),
                                         TEXT("quantization"),
                                         TEXT("revision"),
                                         TEXT("tokenizer"),
                                         TEXT("tokenizer_mode"),
                                         TEXT("tokenizer_revision"),
                                         FLAG("skip_tokenizer_init"),
                                         TEXT("chat_template"),
                                         COUNT("seed", INT64_MIN),
                                         OBJECT("extra_kwargs"),
                                         OBJECT("model_kwargs"), /* its name for extra_kwargs in 1.0 */
                                         {0}};
static const char *const vllm_generation[] = {"max_new_tokens",
                                              "presence_penalty",
                                              "frequency_penalty",
                                              "repetition_penalty",
                                              "temperature",
                                              "top_p",
                                              "top_k",
                                              "min_p",
                                              "logprobs",
                                              "stop",
                                              "stop_token_ids",
                                              "include_stop_str_in_output",
                                              "skip_special_tokens",
                                              "logits_processors",
                                              "extra_sampling_params",
                                              "echo",
                                              NULL};
static const pipe_param transformers_params[] = {ANY_LLM,
                                                 MAGPIE,
                                                 CUDA,
                                                 TEXT("model"),
                                                 TEXT("revision"),
                                                 TEXT("torch_dtype"),
                                                 FLAG("trust_remote_code"),
                                                 OBJECT("model_kwargs"),
                                                 TEXT("tokenizer"),
                                                 FLAG("use_fast"),
                                                 TEXT("chat_template"),
                                                 ANY("device"),
                                                 ANY("device_map"),
                                                 {"token", ARG_SECRET, 0},
                                                 {0}};
static const char *const transformers_generation[] = {"max_new_tokens", "temperature", "repetition_penalty", "top_p", "top_k",
                                                      "do_sample",      NULL};
static const pipe_param llamacpp_params[] = {ANY_LLM,
                                             MAGPIE,
                                             TEXT("model_path"),
                                             COUNT("n_gpu_layers", INT64_MIN),
                                             TEXT("chat_format"),
                                             COUNT("n_ctx", 0),
                                             COUNT("n_batch", 1),
                                             COUNT("seed", INT64_MIN),
                                             FLAG("verbose"),
                                             OBJECT("extra_kwargs"),
                                             TEXT("tokenizer_id"),
                                             TEXT("chat_template"), /* here only */
                                             {0}};
static const char *const llamacpp_generation[] = {
    "max_new_tokens", "frequency_penalty", "presence_penalty", "temperature", "top_p", "extra_generation_kwargs", NULL};
static const pipe_param openai_params[] = {ANY_LLM, SERVER, {0}};
static const char *const openai_generation[] = {"max_new_tokens",   "logprobs",    "top_logprobs", "echo", "frequency_penalty",
                                                "presence_penalty", "temperature", "top_p",        "stop", "response_format",
                                                "extra_body",       NULL};
static const pipe_param client_params[] = {
    ANY_LLM, MAGPIE, SERVER, TEXT("tokenizer"), TEXT("tokenizer_revision"), TEXT("chat_template") /* here only */, {0}};
static const char *const client_generation[] = {
    "max_new_tokens", "frequency_penalty", "logit_bias", "presence_penalty", "temperature", "top_p", NULL};

static const pipe_llm_class llm_classes[] = {
    {"vLLM", PIPE_VLLM, vllm_params, vllm_generation},
    {"TransformersLLM", PIPE_TRANSFORMERS, transformers_params, transformers_generation},
    {"LlamaCppLLM", PIPE_LLAMACPP, llamacpp_params, llamacpp_generation},
    {"OpenAILLM", PIPE_OPENAI, openai_params, openai_generation},
    {"ClientvLLM", PIPE_CLIENT_VLLM, client_params, client_generation},
};

const pipe_class *pipe_class_find(sv name) {
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (sv_is(name, classes[i].name)) return &classes[i];
    return NULL;
}

const pipe_llm_class *pipe_llm_class_find(sv name) {
    for (size_t i = 0; i < sizeof llm_classes / sizeof *llm_classes; i++)
        if (sv_is(name, llm_classes[i].name)) return &llm_classes[i];
    return NULL;
}

sv pipe_type_name(const json_value *object) {
    const json_value *info = json_get(object, "type_info");
    const json_value *name = info ? json_get(info, "name") : NULL;
    return name ? json_string(name) : (sv){"", 0};
}

bool pipe_is_source(pipe_kind k) {
    return k <= PIPE_LOAD_DISK;
}

const pipe_param *pipe_param_find(const pipe_param *params, sv name) {
    for (; params && params->name; params++)
        if (sv_is(name, params->name)) return params;
    return NULL;
}

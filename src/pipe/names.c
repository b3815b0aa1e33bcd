/* The classes of distilabel that gavel runs, by name, and the parameters each has: tables.  Module paths are not looked at, because
 * they changed from version to version while the names stayed. */
#include "pipe/pipe_internal.h"

#define COMMON "resources", "input_mappings", "output_mappings", "use_cache"

static const char *const hub_params[] = {COMMON,     "batch_size", "repo_id",      "split",           "config",
                                         "revision", "streaming",  "num_examples", "storage_options", NULL};
static const char *const dicts_params[] = {COMMON, "batch_size", NULL};
static const char *const files_params[] = {COMMON,         "batch_size",      "data_files", "filetype", "split", "streaming",
                                           "num_examples", "storage_options", "config",     "revision", NULL};
static const char *const disk_params[] = {COMMON,  "batch_size",     "dataset_path", "is_distiset",     "config",
                                          "split", "keep_in_memory", "num_examples", "storage_options", NULL};
static const char *const judge_params[] = {COMMON,
                                           "input_batch_size",
                                           "llm",
                                           "group_generations",
                                           "add_raw_output",
                                           "add_raw_input",
                                           "num_generations",
                                           "use_default_structured_output",
                                           "mode",
                                           "rubric",
                                           "rubrics",
                                           "reference",
                                           NULL};
static const char *const keep_params[] = {COMMON, "input_batch_size", "columns", NULL};
static const char *const group_params[] = {COMMON, "input_batch_size", "columns", "output_columns", NULL};
static const char *const combine_params[] = {COMMON, "input_batch_size", NULL};
static const char *const expand_params[] = {COMMON, "input_batch_size", "columns", "encoded", "split_statistics", NULL};

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

static const char *const vllm_params[] = {"cuda_devices",
                                          "disable_cuda_device_placement",
                                          "use_magpie_template",
                                          "magpie_pre_query_template",
                                          "generation_kwargs",
                                          "use_offline_batch_generation",
                                          "offline_batch_generation_block_until_done",
                                          "jobs_ids",
                                          "model",
                                          "dtype",
                                          "trust_remote_code",
                                          "quantization",
                                          "revision",
                                          "tokenizer",
                                          "tokenizer_mode",
                                          "tokenizer_revision",
                                          "skip_tokenizer_init",
                                          "chat_template",
                                          "seed",
                                          "extra_kwargs",
                                          "structured_output",
                                          "model_kwargs", /* its name for extra_kwargs in 1.0 */
                                          NULL};
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
static const char *const transformers_params[] = {"cuda_devices",
                                                  "disable_cuda_device_placement",
                                                  "use_magpie_template",
                                                  "magpie_pre_query_template",
                                                  "generation_kwargs",
                                                  "use_offline_batch_generation",
                                                  "offline_batch_generation_block_until_done",
                                                  "jobs_ids",
                                                  "model",
                                                  "revision",
                                                  "torch_dtype",
                                                  "trust_remote_code",
                                                  "model_kwargs",
                                                  "tokenizer",
                                                  "use_fast",
                                                  "chat_template",
                                                  "device",
                                                  "device_map",
                                                  "token",
                                                  "structured_output",
                                                  NULL};
static const char *const transformers_generation[] = {"max_new_tokens", "temperature", "repetition_penalty", "top_p", "top_k",
                                                      "do_sample",      NULL};
static const char *const llamacpp_params[] = {"use_magpie_template",
                                              "magpie_pre_query_template",
                                              "generation_kwargs",
                                              "use_offline_batch_generation",
                                              "offline_batch_generation_block_until_done",
                                              "jobs_ids",
                                              "model_path",
                                              "n_gpu_layers",
                                              "chat_format",
                                              "n_ctx",
                                              "n_batch",
                                              "seed",
                                              "verbose",
                                              "extra_kwargs",
                                              "tokenizer_id",
                                              "structured_output",
                                              "chat_template", /* here only */
                                              NULL};
static const char *const llamacpp_generation[] = {
    "max_new_tokens", "frequency_penalty", "presence_penalty", "temperature", "top_p", "extra_generation_kwargs", NULL};
static const char *const openai_params[] = {"generation_kwargs",
                                            "use_offline_batch_generation",
                                            "offline_batch_generation_block_until_done",
                                            "jobs_ids",
                                            "model",
                                            "base_url",
                                            "api_key",
                                            "default_headers",
                                            "max_retries",
                                            "timeout",
                                            "structured_output",
                                            NULL};
static const char *const openai_generation[] = {"max_new_tokens",   "logprobs",    "top_logprobs", "echo", "frequency_penalty",
                                                "presence_penalty", "temperature", "top_p",        "stop", "response_format",
                                                "extra_body",       NULL};
static const char *const client_params[] = {"use_magpie_template",
                                            "magpie_pre_query_template",
                                            "generation_kwargs",
                                            "use_offline_batch_generation",
                                            "offline_batch_generation_block_until_done",
                                            "jobs_ids",
                                            "model",
                                            "base_url",
                                            "api_key",
                                            "default_headers",
                                            "max_retries",
                                            "timeout",
                                            "structured_output",
                                            "tokenizer",
                                            "tokenizer_revision",
                                            "chat_template", /* here only */
                                            NULL};
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

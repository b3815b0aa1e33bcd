/* What a model is called: in results, in a GGUF made of it, and where it is recognised.
 *
 * The Hub's cache keeps ORG/NAME as models--ORG--NAME/snapshots/COMMIT; whatever lies in there is called ORG/NAME.  Any other folder has its own name, and a
 * GGUF the one that it gives itself (general.name), else the file's without .gguf.  config.json's _name_or_path is what a model was made
 * from, its base model as a rule; it counts only for a folder whose name is a hash. */
#ifndef GAVEL_MODELFILE_MODEL_NAME_H
#define GAVEL_MODELFILE_MODEL_NAME_H

#include "modelfile/tensors.h"

/* Of the Hub's cache ORG/NAME, else the last part of the path; "." and ".." are looked up. */
void model_name_of_path(const char *path, buf *out);
/* The same for a folder with a config.json that says by_config ("" if nothing). */
void model_name_of_folder(const char *path, const char *by_config, buf *out);
/* Valid UTF-8. */
void model_name_of(const tensors *t, buf *out);

#endif

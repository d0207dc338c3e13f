"""The reasons of conditions: what can be wrong and what to do about it, and the states that are in order.

The order of the causes is that of severity: of several troubles, the one that stands first here is told.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Cause(NamedTuple):
    """What a reason stands for.

    Attributes:
        meaning: What is wrong, as a sentence.
        remedy: What to do about it, as an order that can follow a colon or a semicolon.
    """

    meaning: str
    remedy: str


STATES: Mapping[str, str] = {
    "Valid": "The spec is valid, and an engine serves it.",
    "Alias": "The spec is valid; it makes a route to another model.",
    "TargetFound": "There is a model of the name that the alias points to.",
    "ExistingClaim": "The weights are read from the claim that spec.serving.cache.existingClaim or pvc:// names.",
    "Fetched": "The weights were fetched into the volume.",
    "Fetching": "The weights are being fetched; pods start when they are there.",
    "Ephemeral": "Each pod fetches the weights for itself before it starts.",
    "Starting": "No replica answers so far, and nothing is known to be wrong.",
    "Serving": "At least one replica answers requests.",
    "RollingOut": "Replicas are being made or replaced.",
    "Complete": "Every replica is up to date and answers requests.",
    "ScaledToZero": "spec.serving.replicas is 0.",
    "Disabled": "spec.disabled is true; requests are refused.",
    "AwaitingRemoval": "The objects of a deleted ImageModel of the same name are still being removed.",
}
"""States that ask for nothing to be done, with what each means."""

MODEL_CAUSES: Mapping[str, Cause] = {
    "NameTaken": Cause("Objects that are not the operator's bear the names of the model's.", "delete or rename them"),
    "ApplyFailed": Cause("The API server refuses an object that the spec asks for.", "correct what the message names"),
    "RightMissing": Cause(
        "The operator lacks a right that it takes to make or to remove an object.",
        "ask the administrator to upgrade the operator's chart, whose roles grant it",
    ),
    "RemovalFailed": Cause(
        "The API server refuses to remove what the spec does not ask for any more; all else is done.",
        "correct what the message names",
    ),
    "TargetMissing": Cause(
        "There is no model of the name that the alias points to.", "create it, or correct spec.alias"
    ),
    "TwoAutoscalers": Cause(
        "A HorizontalPodAutoscaler and spec.serving.scaling would both set the number of replicas.",
        "delete one of the two",
    ),
    "WrongScaleTarget": Cause(
        "A HorizontalPodAutoscaler, maybe a ScaledObject's, scales the model's Deployment; the operator undoes that.",
        "have it target the ImageModel",
    ),
}
"""Why nothing, or not all, is made of an ImageModel."""

LOAD_CAUSES: Mapping[str, Cause] = {
    "InvalidSpec": Cause(
        "The spec is wrong, or asks for what the model or this cluster cannot do; the last valid one stays in force.",
        "correct the field that the message names",
    ),
    "WeightsMissing": Cause(
        "A file that the spec names is not in the model's volume.",
        "put it there, or correct the path that the message names",
    ),
    "UnsafeWeights": Cause(
        "A file of the model is a pickle, which can run code as it is read.",
        "use safetensors or GGUF files, or a revision that has them",
    ),
    "RemoteCode": Cause("The model asks for code of its own, which is never run.", "use a model without code"),
    "PathEscape": Cause("A file is a link to a place outside the volume.", "put the file itself there"),
    "CorruptWeights": Cause("A file of weights is broken or cut short.", "fetch it again"),
    "UnknownFormat": Cause(
        "A file or folder is of no kind that the engine reads.", "use another file, or the other engine by spec.backend"
    ),
    "ConfigMissing": Cause(
        "A single file of weights lacks its configs and tokenizers.", "put them where the message says"
    ),
    "UnknownPipeline": Cause(
        "spec.diffusers.pipeline_type names no pipeline of diffusers.", "correct it, or leave it out"
    ),
    "UnsupportedPipeline": Cause("The pipeline draws nothing that a request can ask for.", "use another one"),
    "Unsupported": Cause(
        "An option cannot be had with this model or device.", "remove or change the one that is named"
    ),
    "LibraryMissing": Cause(
        "The runtime's image lacks a library that an option needs.", "remove the option, or use an image that has it"
    ),
    "EngineMissing": Cause(
        "The runtime's image lacks the engine or the driver it was built for.",
        "correct runtime.images or the profile's image in the chart's values",
    ),
    "TooFewGPUs": Cause("The runtime sees fewer GPUs than the spec asks for.", "lower spec.tensor_parallel_size"),
    "TooLittleMemory": Cause(
        "The weights do not fit the memory that the pod may use.",
        "raise spec.serving.resources.limits.memory, or use weights of fewer bits",
    ),
    "WorkerCrashed": Cause(
        "The process that loads the model crashed.", "give the pod more memory, or use a smaller model"
    ),
    "LoadFailed": Cause(
        "The engine cannot make a model of the files.", "fetch them again, or correct the field that the message names"
    ),
}
"""Why a runtime cannot load its model: the reasons of its own LoadError."""

FETCH_CAUSES: Mapping[str, Cause] = {
    "WeightsNotFound": Cause(
        "The source has no such repository, revision or file (404).", "correct the source that the message names"
    ),
    "WeightsUnauthorized": Cause(
        "The source refuses access (401 or 403).",
        "accept the model's licence there, and name a Secret with a token in spec.serving.hfTokenSecretRef",
    ),
    "ChecksumMismatch": Cause(
        "What was fetched is not what the sha256 promises.", "correct the sha256, or do not trust the source"
    ),
    "DiskFull": Cause(
        "The volume is too small for the weights.",
        "raise spec.serving.cache.size, or free some of it; where volumes cannot grow, delete the ImageModel and apply "
        "it with the larger size",
    ),
    "TooLarge": Cause(
        "The weights are larger than the administrator allows.",
        "name smaller weights, or ask for a higher HELIOGRAPH_FETCH_MAX_BYTES in weights.env of the chart's values",
    ),
    "VolumeUnavailable": Cause(
        "The volume for the weights cannot be written.", "check its claim; `kubectl describe pvc` tells more"
    ),
    "InvalidSource": Cause("The source cannot be read as one.", "correct the field that the message names"),
    "SourceUnreachable": Cause(
        "The source does not answer, or breaks off.", "check the network policy, the proxy and the source itself"
    ),
    "Interrupted": Cause(
        "The fetcher was ended before it was done.", "wait for the next try, which goes on where this one stopped"
    ),
    "FetchTimeout": Cause(
        "The weights did not come in time.", "check the source's speed; fetching goes on where it stopped"
    ),
    "FetchFailed": Cause("The weights cannot be fetched.", "look at the fetcher's log"),
}
"""Why weights cannot be fetched: `heliograph_api.exits.FetchProblem`, and a Job that gave up."""

CONTAINER_CAUSES: Mapping[str, Cause] = {
    "OutOfMemory": Cause(
        "The container used more memory than its limit and was killed.",
        "raise spec.serving.resources.limits.memory, or use a smaller or quantized model",
    ),
    "ImagePullFailed": Cause(
        "A container image cannot be pulled.",
        "check image.registry, image.tag and imagePullSecrets of the chart, or the profile's image",
    ),
    "SecretMissing": Cause(
        "A Secret or a key in it is missing.",
        "create it in the model's namespace, or correct spec.serving.hfTokenSecretRef",
    ),
    "ConfigError": Cause(
        "A container cannot be configured.", "ask the administrator; `kubectl describe pod` tells more"
    ),
    "StartFailed": Cause(
        "A container cannot be started from its image.", "use an image that holds what the engine needs"
    ),
    "CrashLoop": Cause("A container ends again and again.", "look at its log with `kubectl logs --previous`"),
    "ProbeFailing": Cause(
        "The runtime stopped answering its probes, or did not load the model within its time.",
        "look at its log; give it more CPU or a faster volume",
    ),
}
"""Why containers do not run."""

PLACEMENT_CAUSES: Mapping[str, Cause] = {
    "QuotaExceeded": Cause(
        "A ResourceQuota of the namespace allows no further pod or volume.",
        "raise the quota, ask for less in spec.serving, or scale down or delete another model",
    ),
    "PodRejected": Cause(
        "An admission rule of the cluster refuses the pods.", "meet the rule, or ask the administrator for an exception"
    ),
    "ClaimMissing": Cause(
        "There is no PersistentVolumeClaim of that name.", "create it, or correct spec.serving.cache.existingClaim"
    ),
    "ClaimPending": Cause(
        "A PersistentVolumeClaim has no volume yet.",
        "check its StorageClass and its size; `kubectl describe pvc` tells more",
    ),
    "CacheNotShareable": Cause(
        "The weights are in a volume that one node or one pod at a time can mount, and there is no room for a further "
        "pod.",
        "use a volume that is ReadWriteMany (spec.serving.cache.mode: sharedRWX), fewer replicas, or a larger node",
    ),
    "VolumeElsewhere": Cause(
        "The volume cannot be reached from any node that fits.",
        "use a volume that every node reaches, or free its node",
    ),
    "NoGpuFree": Cause(
        "No node has as many GPUs free as the model asks for.",
        "scale another model down, add a node, or lower spec.serving.gpus",
    ),
    "InsufficientMemory": Cause(
        "No node has enough memory free.",
        "add a node, use smaller weights, or ask for less in spec.serving.resources: unless it or the profile names "
        "resources, the weights' size and 2Gi are asked for",
    ),
    "InsufficientCpu": Cause(
        "No node has enough CPU free.", "lower spec.serving.resources.requests.cpu, or add a node"
    ),
    "InsufficientResource": Cause(
        "No node has enough free of what is asked for.", "lower spec.serving.resources, or add a node"
    ),
    "KeptApart": Cause(
        "Every node that fits runs a model of the same concurrency group.",
        "scale that one down, or change spec.concurrency_groups",
    ),
    "UntoleratedTaint": Cause(
        "Every node that fits bears a taint that the model does not tolerate.",
        "tolerate it in spec.serving.tolerations, or use a profile that does",
    ),
    "NoMatchingNode": Cause(
        "No node has the labels that the model asks for.", "correct spec.serving.nodeSelector or the profile"
    ),
    "Unschedulable": Cause("The scheduler finds no node for the pod.", "add a node, or make one schedulable"),
    "VolumeInUse": Cause(
        "The volume is for one node at a time, and a pod on another node has it.",
        "wait for that pod to end, or set spec.serving.rollout: replace to have it end when it is idle",
    ),
    "VolumeNotMounted": Cause(
        "The pod has a node, but neither its volumes nor its network there.",
        "look for the cause with `kubectl describe pod`; a volume for one node at a time must be freed by the other",
    ),
    "NodeLost": Cause("The pod's node does not report any more.", "restore the node, or delete it from the cluster"),
    "RefusedByNode": Cause(
        "The node refused the pod: what it was placed for is not free there.",
        "check the node's device plugin and what else runs on it",
    ),
    "Preempted": Cause(
        "The pod gave way to one of higher priority.", "wait for its successor, or ask the administrator for more room"
    ),
    "Evicted": Cause(
        "The node ran out of memory or disk and ended the pod, or was shut down.",
        "raise the requests in spec.serving.resources to what the model really uses, or spec.serving.cache.size if its "
        "weights are kept by the pod",
    ),
    "ProgressDeadlineExceeded": Cause(
        "No further replica got ready within the time that loading may take.", "look at the runtime's log"
    ),
}
"""Why pods cannot be made, placed or kept."""

WARNINGS: Mapping[str, Cause] = {
    "UnknownKey": Cause("Nothing knows a key of the spec; it has no effect.", "correct its spelling, or remove it"),
    "NoEffect": Cause(
        "A key or an option is known, and has no effect on this model or in Heliograph.", "do what the message says"
    ),
    "OptionRefused": Cause("An option keeps the model from being loaded.", "remove it"),
    "MoreWarnings": Cause("There are more warnings than the status holds.", "deal with those that are told"),
    "SpellingCorrected": Cause(
        "A value is one of LocalAI's misspelt ones, and is read as what it stands for.", "write it as it is read"
    ),
    "ValueLimited": Cause("A value is greater than can be, and is cut.", "write one within the bound"),
    "HalfPrecisionNeedsGPU": Cause(
        "f16 has no effect without a GPU, since a CPU computes in full precision.", "set cuda: true, or remove f16"
    ),
    "CudaUnavailable": Cause(
        "A GPU is asked for, and there is no GPU profile; the model runs on CPUs.",
        "set runtime.gpuProfile in the chart's values, or remove cuda",
    ),
    "GPUImageMissing": Cause(
        "A replica gets a GPU, and no image that can use it; the model runs on CPUs, its GPU idle.",
        "name an image in the profile's images",
    ),
    "GPUNotRequested": Cause(
        "The profile has GPUs, and the model asks for none; it runs on CPUs.",
        "set cuda: true or spec.serving.gpus, to 0 where that is meant",
    ),
    "VolumeKept": Cause(
        "spec.serving.cache asks for a volume that the claim, which is there, cannot become.",
        "leave the field as it was, or delete the ImageModel and apply it anew",
    ),
}
"""What of a spec is not done as it is written: the reasons in `status.warnings`."""

CAUSES: Mapping[str, Cause] = {**MODEL_CAUSES, **FETCH_CAUSES, **LOAD_CAUSES, **CONTAINER_CAUSES, **PLACEMENT_CAUSES}
"""Every trouble, worst first."""

"""What each committed figure shows: where it comes from and what it claims."""

from dataclasses import dataclass
from pathlib import Path

CLUSTERING = "notebooks/01_clustering_analysis.ipynb"
MAIN = "notebooks/02_unlearning.ipynb"
MAPS = "notebooks/04_embedding_tsne.ipynb"
COMPARISON = "notebooks/05_comparison.ipynb"
ATTACKS = "notebooks/06_attacks.ipynb"
QUALITY = "notebooks/03_quality_aware_forgetting.ipynb"
QUICK = "SynthFaces, profile quick"


@dataclass(frozen=True)
class Entry:
    """A figure's line in `figures/index.yaml`: where it comes from and what it claims.

    `run` names what makes its table, where that is not the notebook; `table` is the table, where
    it has not the figure's name; a figure `without_data` is drawn by code alone.
    """

    notebook: str
    paper: str
    caption: str
    run: str = ""
    table: str = ""
    without_data: bool = False

    @property
    def made_by(self) -> str:
        """The notebook, or other run, that makes the table."""
        return self.run or Path(self.notebook).stem


ENTRIES = {
    "framework": Entry(
        MAIN,
        "framework overview",
        "CURE needs no labels: K-means on the teacher's embeddings stands in for them. Forget "
        "faces are pushed towards the farthest cluster, found anew from the student every few "
        "epochs; retain faces stay. The student is judged beside an oracle that was retrained.",
        without_data=True,
    ),
    "faces": Entry(
        MAIN,
        "ours",
        "SynthFaces, the data set the study carries: drawn by code, nobody's. A row is a person; "
        "the captures differ in pose, light, expression, age, glasses, occlusion and quality.",
        without_data=True,
    ),
    "score_distributions": Entry(
        MAIN,
        "the forgetting that the paper's score summarises",
        "Cosine similarity of genuine (solid) and impostor (dashed) pairs. Unlearning pushes the "
        "two into each other for forgotten people and leaves retained people as they were; the "
        "oracle, which never saw the forgotten, still tells them apart. SynthFaces, profile quick, "
        "all seeds pooled.",
    ),
    "measures": Entry(
        MAIN,
        "the comparison of before and after, with the membership recall",
        "The student (after) is far less able than the oracle to recognise forgotten people, and "
        "loses little on retained and unseen people. Large: mean over seeds; small: each seed. "
        "SynthFaces, profile quick.",
    ),
    "roc": Entry(
        MAIN,
        "ours",
        "True against false accept rate. After unlearning forgotten people are recognised less "
        "than by the oracle at every false accept rate; retained and unseen people lose little. "
        "SynthFaces, profile quick, all seeds pooled.",
    ),
    "loss_terms": Entry(
        MAIN,
        "the loss terms of the method",
        "Each loss term of cure_plus over the epochs, without its weight; a line a seed. "
        "SynthFaces, profile quick.",
    ),
    "cluster_criteria": Entry(
        CLUSTERING,
        "clustering analysis: the choice of K",
        "Label-free criteria over the number of clusters, on either side. The silhouette by "
        "centroids chooses (line); the dotted line is the number of people, which no criterion "
        f"knew. {QUICK}, seed 0.",
    ),
    "cluster_agreement": Entry(
        CLUSTERING,
        "clustering analysis: pseudo-labels against identities",
        "Agreement of the clusters with people, for evaluation alone. Purity and homogeneity rise "
        "with K by themselves; NMI and ARI punish too few clusters and too many. Line: the number "
        f"chosen without labels; dotted: the people there are. {QUICK}, seed 0.",
    ),
    "cluster_sizes": Entry(
        CLUSTERING,
        "clustering analysis: what the clusters hold",
        "Every cluster at the number chosen, by size; grey is who does not belong to the cluster's "
        f"main person and is treated as if they did. {QUICK}, seed 0.",
    ),
    "cluster_faces": Entry(
        CLUSTERING,
        "clustering analysis: examples",
        "Forget faces nearest to their centroid and farthest from it, with the distances, for the "
        f"first six clusters: the edge of a cluster is where pseudo-labels err. {QUICK}, seed 0.",
    ),
    "farthest_map": Entry(
        CLUSTERING,
        "the farthest map",
        "Where each forget cluster is sent. The farthest map lets several clusters share one "
        "target (right: how many); the one-to-one assignment uses each target once. Left: grey is "
        f"the distance between centroids. {QUICK}, seed 0.",
    ),
    "cluster_drift": Entry(
        CLUSTERING,
        "the renewal of the centroids",
        "While the student unlearns by CURE: how far the forget centroids lie from the last "
        "epoch's, from the teacher's and from each other, and the share of images that change "
        f"their cluster or its target. {QUICK}, seed 0.",
    ),
    "sensitivity": Entry(
        CLUSTERING,
        "ablations: K, tau, temperature, target map",
        "UES (CURE) as one factor at a time leaves its default (dotted). Large: mean over seeds; "
        "small: each seed. SynthFaces, a drawing that no other result uses.",
        run="sweep",
    ),
    "map_joint": Entry(
        MAPS,
        "t-SNE of the embeddings",
        "Before, after and oracle on one t-SNE map fitted to all three (the oracle rotated into "
        "the teacher's space on retained faces). Neighbourhoods can be read, distances between "
        f"islands cannot. {QUICK}, seed 0.",
    ),
    "map_placed": Entry(
        MAPS,
        "t-SNE of the embeddings",
        "The teacher's own t-SNE map with student and oracle placed into it. A point can only be "
        "placed among those that are there: movement into empty space cannot show. "
        f"{QUICK}, seed 0.",
    ),
    "map_moves": Entry(
        MAPS,
        "t-SNE of the embeddings",
        "The ways of the pictures that moved most in the embedding space, drawn on the joint "
        "t-SNE map; the length of a way on the map is not the size of the change. "
        f"{QUICK}, seed 0.",
    ),
    "map_clusters": Entry(
        MAPS,
        "t-SNE of the embeddings, with the pseudo-clusters",
        "Forget pictures on the joint t-SNE map by pseudo-cluster, before and after; a number "
        "stands at the picture nearest to its cluster's centroid. "
        f"{QUICK}, seed 0.",
    ),
    "map_pca": Entry(
        MAPS,
        "ours",
        "The same points by the first two principal components, a check that the picture is no "
        f"artefact of t-SNE. {QUICK}, seed 0.",
    ),
    "comparison": Entry(
        COMPARISON,
        "the comparison table: highest Unlearning Efficiency Score among label-free methods",
        "UES (CURE) of each method, tuned by the same trials of the same length on other "
        "requests. Where whole people go, cure_scatter lies above every peer on drawn faces, and "
        "again on people drawn anew (redrawn), whom no trial and no designer had met. On LFW "
        "random relabelling, cure_scatter, cure_plus and dispersion are not told apart on random "
        "people; cure_plus has the highest mean on the hardest, and of random pictures it lies "
        "above every peer. Large: mean with a 95 % interval over n seeds; small: each seed; "
        "dotted: the oracle.",
        run="compare",
    ),
    "comparison_new_pictures": Entry(
        COMPARISON,
        "ours: the score sees only the pictures that were unlearned",
        "UES (CURE) by new pictures of the forgotten people (filled, mean with a 95 % interval "
        "over n seeds) beside that by the very pictures that were unlearned (hollow). By the "
        "new ones nobody is above all others.",
        run="compare",
        table="comparison",
    ),
    "comparison_membership": Entry(
        COMPARISON,
        "the comparison of membership recall: lowest after unlearning",
        "Membership recall on the forget set less the retrained oracle's, which is what "
        "forgetting would give: 0 is the aim, not the lowest. Where whole people go, most of "
        "those that erase lie far to the left and Bad Teacher far to the right. Large: mean with "
        "a 95 % interval over n seeds, hollow where the attack tells nobody apart, by the method "
        "or by the oracle (AUC under 0.55); small: each seed.",
        run="compare",
        table="comparison",
    ),
    "frontier": Entry(
        COMPARISON,
        "ours: a single point of the comparison can be bought",
        "Forgetting (F) against stability (S) as each method's strength goes from a tenth of its "
        "tuned value to ten times it: markers grow with it, and the tuned one has a black edge; of "
        "SSD the strongest is the smallest. Mean over the n seeds. On drawn faces no other curve "
        "comes near the best of cure_scatter; on LFW the best of it, cure_plus, random relabelling "
        "and dispersion are not told apart, and the others stay behind.",
        run="compare",
    ),
    "ablations": Entry(
        COMPARISON,
        "ablations",
        "What a change to CURE (squares), cure_plus (circles) or a peer (diamonds) does to UES on "
        "the same requests and seeds, all else as tuned. CURE lives by the forget side of its "
        "contrastive term, by centroids renewed and by targets that are not near; cure_plus by "
        "dispersion, whoever clusters; cure_scatter (triangles) not by its own term; on LFW the "
        "same parts count. Twice the length gives random relabelling most. Large: mean with a 95 % "
        "interval, of which some three would miss 0 by chance; small: each seed.",
        run="compare",
        table="comparison",
    ),
    "label_noise": Entry(
        COMPARISON,
        "that no identity labels are needed, which matters where they are noisy",
        "Supervised methods as a share of their labels is made wrong, beside CURE and cure_plus, "
        "which read none, and the same two methods on pseudo-labels (dotted; means over the same "
        "seeds). True labels gain them little, and wrong ones cost little; on drawn faces "
        "cure_plus lies some 0.2 above them, CURE hardly; on LFW both lie some 0.5 above.",
        run="compare",
        table="comparison",
    ),
    "membership_attacks": Entry(
        ATTACKS,
        "membership inference before and after",
        "Membership attacks by one signal each: how well it tells members from people never seen "
        "(left; dotted: not at all), and the share of forget pictures it calls members (right). "
        "The student's are called members less often than the oracle's: it over-forgets. Large: "
        "mean over seeds (likelihood ratio: one seed); lines: each seed's 95 % interval over "
        f"people. {QUICK}.",
    ),
    "hidden": Entry(
        ATTACKS,
        "ours: hidden or forgotten, and does it show?",
        "Old templates of the forgotten, and the forgotten found out. The student's new pictures "
        "find little of the old gallery, old pictures in its own gallery more. A rotation adds "
        "next to nothing; a linear map learnt on retained people adds some, and more to the "
        "oracle's. The student treats the forgotten no more like strangers than the teacher did "
        f"(right; dotted: as strangers). Large: mean over seeds; small: each seed. {QUICK}.",
    ),
    "recovery": Entry(
        ATTACKS,
        "ours: hidden or forgotten?",
        "How fast the forgotten come back: enrolled anew by a few pictures, and when the model is "
        "trained on one or three pictures of each. The student gains from three, in its first "
        f"steps alone, and stays behind the oracle. Mean over seeds. {QUICK}.",
    ),
    "collateral": Entry(
        ATTACKS,
        "ours: who else pays",
        "Each retained person: how far their held-out pictures moved, after the best rotation, "
        "against how near they were to someone forgotten. The student may move the near ones a "
        f"little more; the oracle, another training, moves everyone. {QUICK}, all seeds.",
    ),
    "attacks": Entry(
        ATTACKS,
        "ours: what a sceptic finds of each method, on drawn and on real faces",
        "The attacks on students of the comparison, each method as tuned there, random people. On "
        "real faces the forgotten were hardly told from strangers before (teacher); after "
        "each of these methods they are. cure leaves more than cure_plus, cure_scatter and random "
        "relabelling for old templates, mapped linearly, and for enrolling anew. Mean with a 95 % "
        "interval over n seeds; small: each seed; hollow: before the map or the relearning; lines: "
        "oracle and teacher.",
        run="compare",
    ),
    "cost": Entry(
        MAIN,
        "ours: what the paper's scale would cost",
        "Embedding grows with the number of images, K-means with images times clusters, and a pass "
        "of unlearning with the share forgotten, beside a fixed part: the teacher's views of all "
        "images. The small encoder, two cores, random pixels (benchmarks/cost.py --full).",
        run="benchmarks/cost.py",
    ),
    "quality_deciles": Entry(
        QUALITY,
        "ours",
        "Training pictures by tenths of the fused score, the poorest on top: blur, coarse pixels "
        "and noise come first; what covers a face in sharp outline is hardly noticed. "
        f"{QUICK}, seed 0.",
    ),
    "quality_scores": Entry(
        QUALITY,
        "ours",
        "Where planted bad pictures lie in the order of quality: the fused score finds the blurred "
        "ones, hardly the covered, and not the mislabelled, which look well. "
        f"{QUICK}, seed 0.",
    ),
    "quality_discard": Entry(
        QUALITY,
        "ours",
        "False non-match rate of what is left as the poorest images are discarded, the threshold "
        "fixed at a false match rate of 1e-3; the oracle knows labels and scores. What the encoder "
        "says (norm, mirror agreement, cluster margin) foretells failure better than what the "
        f"picture shows. {QUICK}, seed 0, and 1,500 images of LFW by MobileFaceNet.",
    ),
    "quality_accuracy": Entry(
        QUALITY,
        "accuracy after forgetting low-quality images",
        "Signed change of accuracy against the teacher as more pictures are forgotten; 0 is no "
        "change. By CURE and cure_plus, forgetting the poorest costs what forgetting as many at "
        f"random costs, and raises accuracy nowhere. Mean and 95 % interval, five seeds. {QUICK}.",
    ),
}

(* The DPO loss and some of its relatives: gradients, minimisers on unlimited votes. *)

From Coq Require Import Reals Lra Lia.
From Dpo Require Import Sums Policies Votes.
Open Scope R_scope.

(* --- Definitions --- *)

(* the DPO loss of one vote, from its margin s *)
Definition dpo (s : R) : R := - ln (sigma s).

(* the margin of a pair: the implicit reward of the one response less that of the other *)
Definition margin (beta : R) (ref p : nat -> R) (i j : nat) : R :=
  implicit beta ref p i - implicit beta ref p j.

(* The mean loss of unlimited votes: pair (i, j) comes up with weight mu i j,
   i is chosen with probability P i j, and j otherwise, at the margin turned round. *)
Definition population (n : nat) (mu P : nat -> nat -> R) (loss : R -> R)
    (s : nat -> nat -> R) : R :=
  Sum2 n (fun i j => mu i j * (P i j * loss (s i j) + (1 - P i j) * loss (- s i j))).

(* A chain of compared pairs leads from i to j. *)
Inductive linked (n : nat) (mu : nat -> nat -> R) (i : nat) : nat -> Prop :=
  | here : linked n mu i i
  | step j k : linked n mu i j -> (j < n)%nat -> (k < n)%nat -> 0 < mu j k \/ 0 < mu k j ->
      linked n mu i k.

(* The comparison graph connects all responses. *)
Definition connected (n : nat) (mu : nat -> nat -> R) : Prop :=
  forall i j, (i < n)%nat -> (j < n)%nat -> linked n mu i j.

(* no pair has a negative weight *)
Definition weights (n : nat) (mu : nat -> nat -> R) : Prop :=
  forall i j, (i < n)%nat -> (j < n)%nat -> 0 <= mu i j.

(* p is a policy with full support, and among these it alone has the least loss. *)
Definition best_alone (n : nat) (loss : (nat -> R) -> R) (p : nat -> R) : Prop :=
  policy n p /\ full n p /\
  forall q, policy n q -> full n q -> loss p <= loss q /\ (loss q = loss p <-> same n q p).

(* --- D1 to D4: the gradient of one vote --- *)

Lemma slope_of_sigma s : derivable_pt_lim sigma s (sigma s * sigma (- s)).
Proof.
  pose proof (exp_pos (- s)) as P.
  apply derivative_ext with (fun t => 1 / (1 + exp (-1 * t + 0))).
  { intros. unfold sigma, Rdiv. rewrite Rmult_1_l. do 3 f_equal. ring. }
  eapply derivative_value.
  - apply (derivable_pt_lim_div (fun _ => 1) (fun t => 1 + exp (-1 * t + 0))).
    apply derivable_pt_lim_const.
    apply (derivable_pt_lim_plus (fun _ => 1) (fun t => exp (-1 * t + 0))).
    apply derivable_pt_lim_const. apply derivative_affine. apply derivable_pt_lim_exp.
    replace (-1 * s + 0) with (- s) by ring. lra.
  - cbv beta. replace (-1 * s + 0) with (- s) by ring.
    rewrite <- sigma_minus. unfold sigma, Rsqr. field. lra.
Qed.

Lemma slope_of_dpo s : derivable_pt_lim dpo s (- sigma (- s)).
Proof.
  pose proof (sigma_positive s) as P.
  apply derivative_ext with (fun t => -1 * ln (sigma t)). intros; unfold dpo; ring.
  apply derivative_value with (-1 * (/ sigma s * (sigma s * sigma (- s)))). 2: field; lra.
  apply derivative_scale. apply (derivable_pt_lim_comp sigma ln).
  apply slope_of_sigma. apply derivable_pt_lim_ln; auto.
Qed.

(* the slope at a margin that is affine in t *)
Lemma slope_at a b t f : (forall x, f x = dpo (a * x + b)) ->
  derivable_pt_lim f t (- sigma (- (a * t + b)) * a).
Proof.
  intros E. apply derivative_ext with (fun x => dpo (a * x + b)); auto.
  apply derivative_affine. apply slope_of_dpo.
Qed.

(* D1: dl/dDelta = -beta (1 - sigma(s)) = -beta sigma(-s) *)
Theorem D1 beta delta_ref delta :
  derivable_pt_lim (fun d => dpo (beta * (d - delta_ref))) delta
    (- beta * (1 - sigma (beta * (delta - delta_ref)))) /\
  1 - sigma (beta * (delta - delta_ref)) = sigma (- (beta * (delta - delta_ref))).
Proof.
  split. 2: apply sigma_minus. rewrite sigma_minus. eapply derivative_value.
  apply (slope_at beta (- (beta * delta_ref))). intros; f_equal; ring.
  replace (beta * delta + - (beta * delta_ref)) with (beta * (delta - delta_ref)) by ring. ring.
Qed.

(* D2: dl/dlog pi(y_w) = -beta sigma(-s), *)
Theorem D2_chosen beta delta_ref log_w log_l :
  derivable_pt_lim (fun x => dpo (beta * (x - log_l - delta_ref))) log_w
    (- beta * sigma (- (beta * (log_w - log_l - delta_ref)))).
Proof.
  eapply derivative_value.
  apply (slope_at beta (- (beta * (log_l + delta_ref)))). intros; f_equal; ring.
  replace (beta * log_w + - (beta * (log_l + delta_ref))) with
    (beta * (log_w - log_l - delta_ref)) by ring. ring.
Qed.

(* and dl/dlog pi(y_l) = +beta sigma(-s). *)
Theorem D2_rejected beta delta_ref log_w log_l :
  derivable_pt_lim (fun x => dpo (beta * (log_w - x - delta_ref))) log_l
    (beta * sigma (- (beta * (log_w - log_l - delta_ref)))).
Proof.
  eapply derivative_value.
  apply (slope_at (- beta) (beta * (log_w - delta_ref))). intros; f_equal; ring.
  replace (- beta * log_l + beta * (log_w - delta_ref)) with
    (beta * (log_w - log_l - delta_ref)) by ring. ring.
Qed.

(* sigma(s) comes as near to 1 as one likes: it is above 1 - eps where exp(-s) is below eps. *)
Lemma sigma_near_one s eps : exp (- s) < eps -> 1 - eps < sigma s < 1.
Proof.
  intros H. pose proof (exp_pos (- s)) as P. pose proof (sigma_positive (- s)).
  pose proof (sigma_minus s) as M.
  assert (sigma (- s) <= exp (- s)); [| lra].
  unfold sigma. rewrite Ropp_involutive. rewrite <- (Rinv_inv (exp (- s))), <- exp_Ropp.
  rewrite Ropp_involutive. pose proof (exp_pos s). apply Rinv_le_contravar; lra.
Qed.

(* D3: the weight beta sigma(-s) is beta/2 at s = 0, and goes to 0 and beta at the ends. *)
Theorem D3 beta : 0 < beta ->
  beta * sigma (- 0) = beta / 2 /\
  (forall eps, 0 < eps -> exists large, forall s, large < s -> 0 < beta * sigma (- s) < eps) /\
  (forall eps, 0 < eps -> exists large, forall s, large < - s ->
     beta - eps < beta * sigma (- s) < beta).
Proof.
  intros B.
  (* exp(-s) < eps/beta as soon as s > -log(eps/beta) *)
  assert (L : forall eps, 0 < eps -> forall s, - ln (eps / beta) < s ->
    beta - eps < beta * sigma s < beta).
  { intros eps He s Hs. pose proof (Rdiv_lt_0_compat _ _ He B) as Q.
    assert (exp (- s) < eps / beta) as X.
    { rewrite <- (exp_ln (eps / beta)) by auto. apply exp_increasing. lra. }
    apply sigma_near_one in X as [X Y].
    apply Rmult_lt_compat_l with (r := beta) in X; auto.
    apply Rmult_lt_compat_l with (r := beta) in Y; auto.
    replace (beta * (1 - eps / beta)) with (beta - eps) in X by (field; lra). lra. }
  split; [| split].
  - unfold sigma. rewrite !Ropp_0, exp_0. field.
  - intros eps He. exists (- ln (eps / beta)). intros s Hs.
    destruct (L eps He s Hs). rewrite <- sigma_minus. lra.
  - intros eps He. exists (- ln (eps / beta)). intros s Hs. apply L; auto.
Qed.

(* D4: the second derivative is beta^2 sigma(s) sigma(-s) > 0. *)
Theorem D4 beta delta_ref delta : 0 < beta ->
  derivable_pt_lim (fun d => - beta * (1 - sigma (beta * (d - delta_ref)))) delta
    (beta ^ 2 * sigma (beta * (delta - delta_ref)) * sigma (- (beta * (delta - delta_ref)))) /\
  0 < beta ^ 2 * sigma (beta * (delta - delta_ref)) * sigma (- (beta * (delta - delta_ref))).
Proof.
  intros B. split.
  - apply derivative_ext with (fun d => beta * sigma (beta * d + - (beta * delta_ref)) + - beta).
    { intros. replace (beta * t + - (beta * delta_ref)) with (beta * (t - delta_ref)) by ring.
      ring. }
    eapply derivative_value.
    + apply (derivable_pt_lim_plus (fun d => beta * sigma (beta * d + - (beta * delta_ref)))
        (fun _ => - beta)).
      apply derivative_scale. apply derivative_affine. apply slope_of_sigma.
      apply derivable_pt_lim_const.
    + replace (beta * delta + - (beta * delta_ref)) with (beta * (delta - delta_ref)) by ring. ring.
  - repeat apply Rmult_lt_0_compat; try lra; apply sigma_positive.
Qed.

(* --- L4: unlimited votes --- *)

(* a coin that shows response 0 with probability sigma(a), and response 1 otherwise *)
Definition coin (a : R) (y : nat) : R := match y with O => sigma a | _ => sigma (- a) end.

Lemma coin_policy a : policy 2 (coin a).
Proof.
  split. intros [| y] _; simpl; left; apply sigma_positive.
  simpl. rewrite <- (sigma_minus a). ring.
Qed.

(* The loss of a pair at margin s exceeds that at the true margin a by the divergence of two
   coins: it is least at s = a alone. *)
Lemma pair_loss_gap a s :
  sigma a * dpo s + (1 - sigma a) * dpo (- s)
    = sigma a * dpo a + (1 - sigma a) * dpo (- a) + KL 2 (coin a) (coin s).
Proof.
  unfold KL, dpo, coin. simpl. rewrite !ln_quotient, sigma_minus by apply sigma_positive. ring.
Qed.

Lemma coins_differ a s : 0 <= KL 2 (coin a) (coin s) /\ (KL 2 (coin a) (coin s) = 0 <-> s = a).
Proof.
  assert (W : within 2 (coin a) (coin s)).
  { apply full_within. intros [| y] _; apply sigma_positive. }
  split. apply G11; auto using coin_policy.
  rewrite G11_equality by auto using coin_policy. split.
  - intros E. specialize (E O). apply eq_sym, sigma_injective, E. lia.
  - intros ->. intros y Hy. reflexivity.
Qed.

(* So the population loss is least where the margins of all compared pairs are the true ones. *)
Lemma population_least n mu a s : weights n mu ->
  let P := fun i j => sigma (a i j) in
  population n mu P dpo a <= population n mu P dpo s /\
  (population n mu P dpo s = population n mu P dpo a <->
   forall i j, (i < n)%nat -> (j < n)%nat -> 0 < mu i j -> s i j = a i j).
Proof.
  intros M P.
  assert (E : population n mu P dpo s = population n mu P dpo a
    + Sum2 n (fun i j => mu i j * KL 2 (coin (a i j)) (coin (s i j)))).
  { unfold population. rewrite <- Sum2_plus. apply Sum2_ext. intros.
    unfold P. rewrite (pair_loss_gap (a i j) (s i j)). ring. }
  assert (N : forall i j, (i < n)%nat -> (j < n)%nat ->
    0 <= mu i j * KL 2 (coin (a i j)) (coin (s i j))).
  { intros. apply Rmult_le_pos; auto. apply coins_differ. }
  split. rewrite E. pose proof (Sum2_nonneg n _ N). lra.
  rewrite E. split.
  - intros H i j Hi Hj Pm.
    assert (G : mu i j * KL 2 (coin (a i j)) (coin (s i j)) = 0).
    { apply (Sum2_all_zero n _ N); auto. lra. }
    apply Rmult_integral in G as [G | G]. lra. apply coins_differ; auto.
  - intros H. rewrite Sum2_zero. ring. intros i j Hi Hj.
    destruct (M i j Hi Hj) as [Pm | <-]. 2: ring.
    rewrite (proj2 (proj2 (coins_differ (a i j) (s i j)))) by auto. ring.
Qed.

(* What is equal on compared pairs is equal on linked responses. *)
Lemma linked_equal n mu (f : nat -> R) i j :
  (forall k l, (k < n)%nat -> (l < n)%nat -> 0 < mu k l -> f k = f l) ->
  linked n mu i j -> f i = f j.
Proof.
  intros H L. induction L as [| j k L IH Hj Hk E]; auto.
  rewrite IH. destruct E as [E | E]; [| symmetry]; auto.
Qed.

Section Unlimited.
Variables (n : nat) (beta : R) (ref r : nat -> R) (mu : nat -> nat -> R).
Hypotheses (beta_positive : 0 < beta) (ref_policy : policy n ref) (ref_full : full n ref).
Hypothesis mu_weights : weights n mu.

(* the population loss of DPO on Bradley-Terry votes *)
Definition dpo_population (p : nat -> R) : R :=
  population n mu (prefers r) dpo (margin beta ref p).

(* the margins of an optimal policy are the differences of its rewards *)
Lemma margin_star q i j : (i < n)%nat -> (j < n)%nat ->
  margin beta ref (pi_star n beta ref q) i j = q i - q j.
Proof. intros. unfold margin. rewrite !R5 by auto. ring. Qed.

(* margins count only for pairs of responses *)
Lemma population_ext P Q loss s t :
  (forall i j, (i < n)%nat -> (j < n)%nat -> P i j = Q i j /\ s i j = t i j) ->
  population n mu P loss s = population n mu Q loss t.
Proof. intros H. apply Sum2_ext. intros i j Hi Hj. destruct (H i j Hi Hj) as [-> ->]. auto. Qed.

(* L4: the population loss is minimised by pi* alone, if the comparison graph is connected. *)
Theorem L4 : connected n mu -> best_alone n dpo_population (pi_star n beta ref r).
Proof.
  intros C. split. apply G4; auto. split. intros y Hy; apply star_positive; auto.
  intros p P F. unfold dpo_population, prefers.
  rewrite (population_ext _ (fun i j => sigma (r i - r j)) _
    (margin beta ref (pi_star n beta ref r)) (fun i j => r i - r j)) by auto using margin_star.
  pose proof (population_least n mu (fun i j => r i - r j) (margin beta ref p) mu_weights) as [L E].
  split. exact L. split.
  - (* Equal losses: implicit reward less reward is equal on every compared pair, *)
    intros H. assert (K : forall i j, (i < n)%nat -> (j < n)%nat -> 0 < mu i j ->
      implicit beta ref p i - r i = implicit beta ref p j - r j).
    { intros i j Hi Hj M. pose proof (proj1 E H i j Hi Hj M) as G. unfold margin in G. lra. }
    (* so everywhere, and by R3 the policy is pi*. *)
    intros y Hy. rewrite <- (R3_onto n beta ref p) by auto. symmetry.
    apply R3; auto. exists (implicit beta ref p y - r y). intros k Hk.
    pose proof (linked_equal n mu (fun i => implicit beta ref p i - r i) y k K (C y k Hy Hk)) as A.
    simpl in A. lra.
  - intros S. apply E. intros i j Hi Hj _. rewrite <- margin_star by auto.
    unfold margin, implicit. rewrite !S by auto. reflexivity.
Qed.

(* The hypothesis is needed: a bonus that is equal on compared pairs, and not everywhere,
   makes another policy with the same loss. *)
Theorem L4_needs_connection bonus i j :
  (forall k l, (k < n)%nat -> (l < n)%nat -> 0 < mu k l -> bonus k = bonus l) ->
  (i < n)%nat -> (j < n)%nat -> bonus i <> bonus j ->
  dpo_population (pi_star n beta ref (fun y => r y + bonus y))
    = dpo_population (pi_star n beta ref r) /\
  ~ same n (pi_star n beta ref (fun y => r y + bonus y)) (pi_star n beta ref r).
Proof.
  intros B Hi Hj N. split.
  - unfold dpo_population. apply Sum2_ext. intros k l Hk Hl. rewrite !margin_star by auto.
    destruct (mu_weights k l Hk Hl) as [M | <-]. 2: ring.
    rewrite (B k l) by auto.
    replace (r k + bonus l - (r l + bonus l)) with (r k - r l) by ring. ring.
  - intros S. apply N. assert (T : same n (pi_star n beta ref r)
      (pi_star n beta ref (fun y => r y + bonus y))) by (intros y Hy; symmetry; auto).
    apply R3 in T as [c T]; auto. pose proof (T i Hi). pose proof (T j Hj). simpl in *. lra.
Qed.
End Unlimited.

(* --- L2 and L3: the loss as printed --- *)

(* the probability of prompt x given response y, among m prompts with shares mu *)
Definition prompt_given (m : nat) (mu : nat -> R) (p : nat -> nat -> R) (y x : nat) : R :=
  mu x * p x y / Sum m (fun z => mu z * p z y).

(* L2, refuted: with the conditional reversed the printed reward is 0 for every response, if there
   is one prompt or policy and reference do not tell the prompts apart, *)
Theorem L2 m beta mu (p ref : nat -> R) x y : 0 < mu x -> Sum m mu = 1 -> 0 < p y -> 0 < ref y ->
  beta * ln (prompt_given m mu (fun _ => p) y x / prompt_given m mu (fun _ => ref) y x) = 0.
Proof.
  intros M M1 P R. assert (E : forall q, 0 < q y -> prompt_given m mu (fun _ => q) y x = mu x).
  { intros q Q. unfold prompt_given.
    rewrite (Sum_ext _ _ (fun z => q y * mu z)) by (intros; ring).
    rewrite Sum_scale, M1. field. lra. }
  rewrite !E by auto. unfold Rdiv. rewrite Rinv_r, ln_1 by lra. ring.
Qed.

(* so no constant makes it the reward, where rewards differ. *)
Theorem L2_differs m n beta mu (ref r : nat -> R) x w l c : policy n ref ->
  0 < mu x -> Sum m mu = 1 -> 0 < ref w -> 0 < ref l -> r w <> r l ->
  let printed := fun y => beta * ln (prompt_given m mu (fun _ => pi_star n beta ref r) y x
                                     / prompt_given m mu (fun _ => ref) y x) in
  ~ (r w = printed w + c /\ r l = printed l + c).
Proof.
  intros R M M1 W L N printed [A B]. apply N. unfold printed in *.
  rewrite A, B, !L2 by auto using star_positive. reflexivity.
Qed.

(* L3, refuted: with beta counted twice the loss is minimised by pi_ref exp(r/beta^2)/Z alone, *)
Theorem L3 n beta ref r mu : 0 < beta -> policy n ref -> full n ref -> weights n mu ->
  connected n mu ->
  best_alone n (fun p => population n mu (prefers r) dpo (fun i j => beta * margin beta ref p i j))
    (pi_star n (beta * beta) ref r).
Proof.
  intros B R F M C.
  (* It is the loss of DPO for beta^2. *)
  assert (E : forall p, population n mu (prefers r) dpo (fun i j => beta * margin beta ref p i j)
    = dpo_population n (beta * beta) ref r mu p).
  { intros p. apply population_ext; auto. intros. split; auto. unfold margin, implicit. ring. }
  assert (B2 : 0 < beta * beta) by (apply Rmult_lt_0_compat; auto).
  destruct (L4 n (beta * beta) ref r mu B2 R F M C) as [S [G H]].
  split; auto. split; auto. intros p P Q. rewrite !E. auto.
Qed.

(* which is pi* only for beta = 1, unless the reward is constant. *)
Theorem L3_differs n beta ref r i j : 0 < beta -> policy n ref -> full n ref ->
  (i < n)%nat -> (j < n)%nat -> r i <> r j ->
  (same n (pi_star n (beta * beta) ref r) (pi_star n beta ref r) <-> beta = 1).
Proof.
  intros B R F Hi Hj N. split.
  - (* The log-ratio margin of the pair is (r_i - r_j)/beta^2 in one and (r_i - r_j)/beta in the
       other. *)
    intros S. assert (B2 : 0 < beta * beta) by (apply Rmult_lt_0_compat; auto).
    pose proof (log_ratio_star n (beta * beta) ref r R i (F i Hi)) as A1.
    pose proof (log_ratio_star n (beta * beta) ref r R j (F j Hj)) as A2.
    rewrite S, log_ratio_star in A1, A2 by auto.
    assert (X : (r i - r j) * (/ beta * (/ beta - 1)) = 0).
    { replace ((r i - r j) * (/ beta * (/ beta - 1))) with
        (r i / (beta * beta) - r j / (beta * beta) - (r i / beta - r j / beta)) by (field; lra).
      lra. }
    apply Rmult_integral in X as [X | X]. lra.
    apply Rmult_integral in X as [X | X]. pose proof (Rinv_0_lt_compat _ B); lra.
    rewrite <- (Rinv_inv beta). replace (/ beta) with 1 by lra. apply Rinv_1.
  - intros ->. rewrite Rmult_1_l. intros y Hy; auto.
Qed.

(* --- L5: the start at the reference, for a table --- *)

(* a table of logits, one for each response *)
Definition softmax (n : nat) (theta : nat -> R) (y : nat) : R :=
  exp (theta y) / Sum n (fun k => exp (theta k)).

(* the loss of a table on votes; i was chosen over j in w i j of them *)
Definition table_loss (n : nat) (w : nat -> nat -> R) (beta : R) (ref theta : nat -> R) : R :=
  Sum2 n (fun i j => w i j * dpo (margin beta ref (softmax n theta) i j)).

Lemma dpo_zero : dpo 0 = ln 2.
Proof.
  unfold dpo, sigma. rewrite Ropp_0, exp_0. replace (1 + 1) with 2 by ring.
  rewrite ln_Rinv by lra. ring.
Qed.

(* The loss of a vote is log 2 at pi = pi_ref. *)
Theorem L5_loss beta ref w l : 0 < ref w -> 0 < ref l -> dpo (margin beta ref ref w l) = ln 2.
Proof.
  intros. rewrite <- dpo_zero. f_equal. unfold margin, implicit, Rdiv.
  rewrite !Rinv_r, ln_1 by lra. ring.
Qed.

Lemma margin_softmax n beta ref theta i j : full n ref -> (i < n)%nat -> (j < n)%nat ->
  margin beta ref (softmax n theta) i j
    = beta * ((theta i - theta j) - (ln (ref i) - ln (ref j))).
Proof.
  intros F Hi Hj. assert (0 < Sum n (fun k => exp (theta k))) as S.
  { apply Rlt_le_trans with (exp (theta i)). apply exp_pos.
    apply (Sum_term n (fun k => exp (theta k))); auto. intros; left; apply exp_pos. }
  unfold margin, implicit, softmax. pose proof (exp_pos (theta i)). pose proof (exp_pos (theta j)).
  rewrite !ln_quotient, !ln_exp; auto using Rdiv_lt_0_compat. ring.
Qed.

(* the votes that response k won, and lost *)
Definition wins (n : nat) (w : nat -> nat -> R) (k : nat) : R := Sum n (fun j => w k j).
Definition losses (n : nat) (w : nat -> nat -> R) (k : nat) : R := Sum n (fun i => w i k).

(* the table with t added to the logit of response k *)
Definition nudged (theta : nat -> R) (k : nat) (t : R) (y : nat) : R :=
  theta y + t * at_response k y.

(* L5: at pi = pi_ref the slope of the loss in the logit of response k is
   beta/2 times what it lost less what it won; *)
Theorem L5 n w beta ref theta k : full n ref -> same n (softmax n theta) ref -> (k < n)%nat ->
  derivable_pt_lim (fun t => table_loss n w beta ref (nudged theta k t)) 0
    (beta / 2 * (losses n w k - wins n w k)).
Proof.
  intros F S Hk.
  (* The slope of each vote: at margin 0 its weight is 1/2. *)
  assert (T : forall i j, (i < n)%nat -> (j < n)%nat ->
    derivable_pt_lim
      (fun t => w i j * dpo (margin beta ref (softmax n (nudged theta k t)) i j))
      0 (w i j * (- (1 / 2) * (beta * (at_response k i - at_response k j))))).
  { intros i j Hi Hj. apply derivative_scale. eapply derivative_value.
    - apply (slope_at (beta * (at_response k i - at_response k j))
        (margin beta ref (softmax n theta) i j)).
      intros t. rewrite !margin_softmax by auto. unfold nudged. f_equal. ring.
    - assert (M : margin beta ref (softmax n theta) i j = 0).
      { unfold margin, implicit. rewrite !S by auto. unfold Rdiv.
        rewrite !Rinv_r, ln_1 by (apply Rgt_not_eq, F; auto). ring. }
      rewrite M. replace (- (beta * (at_response k i - at_response k j) * 0 + 0)) with 0 by ring.
      unfold sigma. rewrite Ropp_0, exp_0. field. }
  eapply derivative_value.
  - apply (derivative_Sum n (fun i t => Sum n (fun j => w i j *
      dpo (margin beta ref (softmax n (nudged theta k t)) i j)))).
    intros i Hi. apply (derivative_Sum n (fun j t => w i j *
      dpo (margin beta ref (softmax n (nudged theta k t)) i j))).
    intros j Hj. apply T; auto.
  - (* Summed over the votes, response k is picked out as winner and as loser. *)
    unfold losses, wins. rewrite <- (Sum_pick n k (fun i => Sum n (fun j => w i j)) Hk).
    rewrite (Sum_ext _ (fun i => w i k) (fun i => Sum n (fun j => at_response k j * w i j)))
      by (intros; symmetry; apply (Sum_pick n k (w y)); auto).
    rewrite (Sum_ext _ (fun i => at_response k i * _)
      (fun i => Sum n (fun j => at_response k i * w i j))) by (intros; symmetry; apply Sum_scale).
    fold (Sum2 n (fun i j => at_response k j * w i j)).
    fold (Sum2 n (fun i j => at_response k i * w i j)).
    replace (beta / 2 * (Sum2 n (fun i j => at_response k j * w i j)
        - Sum2 n (fun i j => at_response k i * w i j)))
      with (beta / 2 * Sum2 n (fun i j => at_response k j * w i j)
        + (- (beta / 2)) * Sum2 n (fun i j => at_response k i * w i j)) by ring.
    rewrite <- !Sum2_scale, <- Sum2_plus. apply Sum2_ext. intros; field.
Qed.

(* so the gradient is zero just if every response wins as often as it loses. *)
Theorem L5_zero n w beta ref theta : 0 < beta -> full n ref -> same n (softmax n theta) ref ->
  ((forall k, (k < n)%nat -> derivable_pt_lim
      (fun t => table_loss n w beta ref (nudged theta k t)) 0 0) <->
   (forall k, (k < n)%nat -> wins n w k = losses n w k)).
Proof.
  intros B F S. split; intros H k Hk; pose proof (L5 n w beta ref theta k F S Hk) as D.
  - pose proof (uniqueness_limite _ _ _ _ (H k Hk) D) as E. symmetry in E.
    apply Rmult_integral in E as [E | E]; lra.
  - rewrite H in D by auto. replace 0 with (beta / 2 * (losses n w k - losses n w k)) at 2 by ring.
    auto.
Qed.

(* sigma(d) - sigma(-d) has the sign of d. *)
Lemma lead_times_difference d : 0 <= (sigma d - sigma (- d)) * d /\
  ((sigma d - sigma (- d)) * d = 0 -> d = 0).
Proof.
  destruct (Rtotal_order d 0) as [H | [-> | H]].
  - pose proof (sigma_increasing d (- d)) as S. assert (0 < (sigma (- d) - sigma d) * - d) as P.
    { apply Rmult_lt_0_compat; lra. } split; lra.
  - split; intros; lra.
  - pose proof (sigma_increasing (- d) d) as S. assert (0 < (sigma d - sigma (- d)) * d) as P.
    { apply Rmult_lt_0_compat; lra. } split; lra.
Qed.

(* With the shares of wins of unlimited votes that is so just if rewards are equal on linked
   responses: the reward is constant on each component of the comparison graph. *)
Theorem L5_population n r mu : weights n mu ->
  let w := fun i j => (mu i j + mu j i) * prefers r i j in
  ((forall k, (k < n)%nat -> wins n w k = losses n w k) <->
   (forall i j, (i < n)%nat -> (j < n)%nat -> linked n mu i j -> r i = r j)).
Proof.
  intros M w. split; intros H.
  - (* The balance of wins, weighted by the reward, is a sum of leads times differences. *)
    assert (B : Sum2 n (fun i j => w i j * (r i - r j)) = 0).
    { assert (W : Sum2 n (fun i j => w i j * r i) = Sum n (fun k => r k * wins n w k)).
      { apply Sum_ext. intros i _. unfold wins. rewrite <- Sum_scale. apply Sum_ext. intros; ring. }
      assert (L : Sum2 n (fun i j => w i j * r j) = Sum n (fun k => r k * losses n w k)).
      { unfold Sum2. rewrite Sum_swap. apply Sum_ext. intros j _. unfold losses.
        rewrite <- Sum_scale. apply Sum_ext. intros; ring. }
      rewrite (Sum2_ext _ _ (fun i j => w i j * r i + (-1) * (w i j * r j))) by (intros; ring).
      rewrite Sum2_plus, Sum2_scale, W, L.
      rewrite (Sum_ext _ (fun k => r k * wins n w k) (fun k => r k * losses n w k)). ring.
      intros k Hk. rewrite H by auto. reflexivity. }
    set (lead := fun i j => (sigma (r i - r j) - sigma (- (r i - r j))) * (r i - r j)).
    assert (E : Sum2 n (fun i j => mu i j * lead i j) = 0).
    { rewrite <- B. unfold w.
      rewrite (Sum2_ext _ (fun i j => (mu i j + mu j i) * _ * _) (fun i j =>
        mu i j * prefers r i j * (r i - r j) + mu j i * prefers r i j * (r i - r j)))
        by (intros; ring).
      rewrite Sum2_plus. unfold Sum2 at 3. rewrite Sum_swap.
      fold (Sum2 n (fun i j => mu i j * prefers r j i * (r j - r i))).
      rewrite <- Sum2_plus. apply Sum2_ext. intros i j _ _. unfold lead, prefers.
      replace (r j - r i) with (- (r i - r j)) by ring. ring. }
    intros i j Hi Hj L. apply (linked_equal n mu r i j); auto. intros k l Hk Hl P.
    assert (Z : mu k l * lead k l = 0).
    { apply (Sum2_all_zero n (fun i j => mu i j * lead i j)); auto. intros.
      apply Rmult_le_pos; auto. apply lead_times_difference. }
    apply Rmult_integral in Z as [Z | Z]. lra. apply lead_times_difference in Z. lra.
  - (* Equal rewards win half of their votes. *)
    intros k Hk. apply Sum_ext. intros j Hj. unfold w.
    destruct (M k j Hk Hj) as [P | P].
    + rewrite (prefers_swap r k j). unfold prefers. rewrite (H k j); auto.
      replace (sigma (r j - r j)) with (1 / 2). field.
      unfold sigma. replace (- (r j - r j)) with 0 by ring. rewrite exp_0. field.
      apply step with k; auto using here.
    + destruct (M j k Hj Hk) as [Q | Q]. 2: rewrite <- P, <- Q; ring.
      rewrite (prefers_swap r k j). unfold prefers. rewrite (H k j); auto.
      replace (sigma (r j - r j)) with (1 / 2). field.
      unfold sigma. replace (- (r j - r j)) with 0 by ring. rewrite exp_0. field.
      apply step with k; auto using here.
Qed.

(* --- X7 and X9: flipped votes --- *)

(* the probabilities of votes that are flipped at rate e *)
Definition flipped (e : R) (P : nat -> nat -> R) (i j : nat) : R :=
  (1 - e) * P i j + e * (1 - P i j).

(* the robust loss *)
Definition robust (e s : R) : R := ((1 - e) * dpo s - e * dpo (- s)) / (1 - 2 * e).

(* the loss of cDPO *)
Definition cdpo (e s : R) : R := (1 - e) * dpo s + e * dpo (- s).

(* X7: the robust loss averages over flips to the loss of the clean vote, *)
Theorem X7 e s : e < 1 / 2 -> (1 - e) * robust e s + e * robust e (- s) = dpo s.
Proof. intros. unfold robust. rewrite Ropp_involutive. field. lra. Qed.

(* so on noisy population votes it is the loss of DPO on clean ones, *)
Theorem X7_population n mu P e s : e < 1 / 2 ->
  population n mu (flipped e P) (robust e) s = population n mu P dpo s.
Proof.
  intros. apply Sum2_ext. intros. unfold flipped, robust. rewrite Ropp_involutive. field. lra.
Qed.

(* and under the hypotheses of L4 its minimum is pi*. *)
Theorem X7_optimum n beta ref r mu e : 0 < beta -> policy n ref -> full n ref -> weights n mu ->
  connected n mu -> e < 1 / 2 ->
  best_alone n (fun p => population n mu (flipped e (prefers r)) (robust e) (margin beta ref p))
    (pi_star n beta ref r).
Proof.
  intros B R F M C E. destruct (L4 n beta ref r mu B R F M C) as [S [G H]].
  split; auto. split; auto. intros p P Q. rewrite !X7_population by auto. apply H; auto.
Qed.

(* X9: plain DPO on flipped votes and cDPO on clean votes are one loss. *)
Theorem X9 n mu P e s : population n mu (flipped e P) dpo s = population n mu P (cdpo e) s.
Proof.
  apply Sum2_ext. intros. unfold flipped, cdpo. rewrite Ropp_involutive. ring.
Qed.

(* every probability between 0 and 1 is sigma of a margin *)
Lemma sigma_onto x : 0 < x < 1 -> sigma (ln (x / (1 - x))) = x.
Proof.
  intros X. unfold sigma. rewrite <- ln_Rinv by (apply Rdiv_lt_0_compat; lra).
  rewrite exp_ln. field; lra. apply Rinv_0_lt_compat, Rdiv_lt_0_compat; lra.
Qed.

Lemma flipped_between e P i j : 0 <= e < 1 / 2 -> 0 < P i j < 1 -> 0 < flipped e P i j < 1.
Proof.
  intros E [L U]. unfold flipped.
  assert (0 < (1 - e) * P i j) by (apply Rmult_lt_0_compat; lra).
  assert (0 < (1 - e) * (1 - P i j)) by (apply Rmult_lt_0_compat; lra).
  assert (0 <= e * P i j) by (apply Rmult_le_pos; lra).
  assert (0 <= e * (1 - P i j)) by (apply Rmult_le_pos; lra). lra.
Qed.

(* Two responses: the target is pi* of one reward q, whatever the pair counts. *)
Theorem X9_two beta ref r e : 0 < beta -> policy 2 ref -> full 2 ref -> 0 <= e < 1 / 2 ->
  exists q, prefers q 0 1 = flipped e (prefers r) 0 1 /\
  forall mu, weights 2 mu -> 0 < mu 0%nat 1%nat \/ 0 < mu 1%nat 0%nat ->
  best_alone 2 (fun p => population 2 mu (flipped e (prefers r)) dpo (margin beta ref p))
    (pi_star 2 beta ref q).
Proof.
  intros B R F E.
  assert (U : 0 < prefers r 0 1 < 1).
  { split. apply sigma_positive. pose proof (sigma_positive (- (r 0%nat - r 1%nat))) as H.
    rewrite <- sigma_minus in H. unfold prefers. lra. }
  pose proof (flipped_between e (prefers r) 0 1 E U) as X.
  set (x := flipped e (prefers r) 0 1) in *.
  (* The reward q: the log-odds of the noisy vote for response 0, and 0 for response 1. *)
  set (q := fun y => match y with O => ln (x / (1 - x)) | _ => 0 end).
  assert (Q : prefers q 0 1 = x).
  { unfold prefers, q. rewrite Rminus_0_r. apply sigma_onto; auto. }
  exists q. split; auto. intros mu M C.
  assert (H : forall i j, (i < 2)%nat -> (j < 2)%nat -> flipped e (prefers r) i j = prefers q i j).
  { assert (D : forall f i, prefers f i i = 1 / 2).
    { intros. unfold prefers, sigma. replace (- (f i - f i)) with 0 by ring.
      rewrite exp_0. field. }
    intros i j Hi Hj.
    assert (i = 0%nat \/ i = 1%nat) as [-> | ->] by lia;
    assert (j = 0%nat \/ j = 1%nat) as [-> | ->] by lia.
    - unfold flipped. rewrite !D. field.
    - symmetry. exact Q.
    - unfold flipped. rewrite (prefers_swap r 0 1), (prefers_swap q 0 1), Q.
      unfold x, flipped. ring.
    - unfold flipped. rewrite !D. field. }
  assert (L : forall p, population 2 mu (flipped e (prefers r)) dpo (margin beta ref p)
    = dpo_population 2 beta ref q mu p) by (intros; apply population_ext; auto).
  (* One compared pair connects two responses. *)
  assert (K : connected 2 mu).
  { intros i j Hi Hj. destruct (Nat.eq_dec i j) as [-> | N]. apply here.
    apply step with i; auto using here.
    assert (i = 0%nat /\ j = 1%nat \/ i = 1%nat /\ j = 0%nat) as [[-> ->] | [-> ->]] by lia;
      tauto. }
  destruct (L4 2 beta ref q mu B R F M K) as [S [G O]].
  split; auto. split; auto. intros p P T. rewrite !L. auto.
Qed.

(* --- K10: SimPO without a margin to clear --- *)

(* K10: with responses of one length exp(length r/beta)/Z alone minimises the loss of SimPO. *)
Theorem K10 n beta length r mu : (0 < n)%nat -> 0 < beta -> 0 < length -> weights n mu ->
  connected n mu ->
  best_alone n
    (fun p => population n mu (prefers r) dpo
      (fun i j => beta / length * ln (p i) - beta / length * ln (p j)))
    (softmax n (fun y => length * r y / beta)).
Proof.
  intros Hn B T M C.
  (* It is DPO for beta/length with the uniform reference. *)
  set (u := fun _ : nat => / INR n).
  assert (N : 0 < INR n) by (apply lt_0_INR; auto). pose proof (Rinv_0_lt_compat _ N) as N1.
  assert (U1 : forall m, Sum m (fun _ => / INR n) = INR m * / INR n).
  { induction m. simpl; ring. rewrite S_INR. simpl. rewrite IHm. ring. }
  assert (U : policy n u).
  { split. intros; unfold u; lra. unfold u. rewrite U1. field. lra. }
  assert (UF : full n u) by (intros y Hy; auto).
  assert (BT : 0 < beta / length) by (apply Rdiv_lt_0_compat; auto).
  (* The loss is the same, as the uniform reference cancels, *)
  assert (L : forall p, full n p -> population n mu (prefers r) dpo
      (fun i j => beta / length * ln (p i) - beta / length * ln (p j))
    = dpo_population n (beta / length) u r mu p).
  { intros p F. apply population_ext; auto. intros. split; auto.
    unfold margin, implicit. rewrite !ln_quotient by auto. unfold u. ring. }
  (* and so is the optimum. *)
  assert (X : forall y,
    softmax n (fun y => length * r y / beta) y = pi_star n (beta / length) u r y).
  { intros y. unfold softmax, pi_star, Z, u. rewrite Sum_scale.
    assert (E : forall k, r k / (beta / length) = length * r k / beta) by (intros; field; lra).
    rewrite E, (Sum_ext n (fun k => exp (r k / (beta / length)))
      (fun k => exp (length * r k / beta))) by (intros; rewrite E; auto).
    assert (0 < Sum n (fun k => exp (length * r k / beta))).
    { apply Rlt_le_trans with (exp (length * r 0%nat / beta)). apply exp_pos.
      apply (Sum_term n (fun k => exp (length * r k / beta))); auto. intros; left; apply exp_pos. }
    field. lra. }
  assert (SF : full n (softmax n (fun y => length * r y / beta))).
  { intros y Hy. rewrite X. apply star_positive; auto. }
  destruct (L4 n (beta / length) u r mu BT U UF M C) as [[S S1] [_ H]].
  split; [split |].
  { intros y Hy. left. apply SF; auto. }
  { rewrite <- S1. apply Sum_ext. intros; apply X. }
  split; auto. intros p P F. rewrite !L by auto. destruct (H p P F) as [A E].
  assert (Q : dpo_population n (beta / length) u r mu (softmax n (fun y => length * r y / beta))
    = dpo_population n (beta / length) u r mu (pi_star n (beta / length) u r)).
  { apply population_ext; auto. intros. split; auto. unfold margin, implicit. rewrite !X. auto. }
  rewrite Q. split; auto. rewrite E. split; intros V y Hy; [rewrite X | rewrite <- X]; auto.
Qed.

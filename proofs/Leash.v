(* The leash beta: what a long and a short one do to the optimal policy and to its J. *)

From Coq Require Import Reals Lra Lia.
From Dpo Require Import Sums Policies.
Open Scope R_scope.

(* the total variation distance of two policies *)
Definition TV (n : nat) (p q : nat -> R) : R := Sum n (fun y => Rabs (p y - q y)) / 2.

(* --- G8: a short leash --- *)

(* a number within a factor exp(d) of 1 is within exp(d) - 1 of 1 *)
Lemma near_one x d : exp (- d) <= x -> x <= exp d -> Rabs (x - 1) <= exp d - 1.
Proof.
  intros L U. assert (exp (- d) * exp d = 1) as E.
  { rewrite <- exp_plus, Rplus_opp_l. apply exp_0. }
  pose proof (exp_ineq1_le d). pose proof (exp_ineq1_le (- d)).
  apply Rabs_le. split; lra.
Qed.

Theorem G8_short n beta ref r low high : 0 < beta -> policy n ref ->
  (forall y, (y < n)%nat -> low <= r y <= high) ->
  TV n (pi_star n beta ref r) ref <= exp ((high - low) / beta) - 1.
Proof.
  intros B P H. pose proof (Z_positive n beta ref r P) as PZ.
  set (d := (high - low) / beta).
  assert (S : forall y, (y < n)%nat -> exp (low / beta) <= exp (r y / beta) <= exp (high / beta)).
  { intros y Hy. specialize (H y Hy). pose proof (Rinv_0_lt_compat _ B).
    split; apply exp_le; apply Rmult_le_compat_r; lra. }
  (* Z is a mean of exp(r/beta), and lies between its bounds. *)
  assert (ZL : exp (low / beta) <= Z n beta ref r).
  { rewrite <- (Rmult_1_r (exp (low / beta))), <- (proj2 P), <- Sum_scale. apply Sum_le.
    intros y Hy. rewrite Rmult_comm. apply Rmult_le_compat_l.
    apply (proj1 P); auto. apply S; auto. }
  assert (ZU : Z n beta ref r <= exp (high / beta)).
  { rewrite <- (Rmult_1_r (exp (high / beta))), <- (proj2 P), <- Sum_scale. apply Sum_le.
    intros y Hy. rewrite (Rmult_comm (exp _)). apply Rmult_le_compat_l.
    apply (proj1 P); auto. apply S; auto. }
  assert (ED : exp (high / beta) = exp d * exp (low / beta)).
  { rewrite <- exp_plus. f_equal. unfold d. field. lra. }
  pose proof (exp_pos (low / beta)) as PL. pose proof (exp_pos d) as PD.
  (* So pi*/pi_ref = exp(r/beta)/Z lies between exp(-d) and exp(d), *)
  assert (T : forall y, (y < n)%nat ->
    Rabs (pi_star n beta ref r y - ref y) <= (exp d - 1) * ref y).
  { intros y Hy. destruct (S y Hy) as [SL SU]. pose proof (proj1 P y Hy).
    replace (pi_star n beta ref r y - ref y) with ((exp (r y / beta) / Z n beta ref r - 1) * ref y)
      by (unfold pi_star; field; lra).
    rewrite Rabs_mult, (Rabs_right (ref y)) by lra. apply Rmult_le_compat_r; auto.
    apply near_one; apply Rmult_le_reg_r with (Z n beta ref r); auto.
    - replace (exp (r y / beta) / Z n beta ref r * Z n beta ref r) with (exp (r y / beta))
        by (field; lra).
      apply Rle_trans with (exp (low / beta)); auto.
      replace (exp (low / beta)) with (exp (- d) * exp (high / beta)).
      apply Rmult_le_compat_l; auto. left; apply exp_pos.
      rewrite ED, <- Rmult_assoc, <- exp_plus, Rplus_opp_l, exp_0. ring.
    - replace (exp (r y / beta) / Z n beta ref r * Z n beta ref r) with (exp (r y / beta))
        by (field; lra).
      apply Rle_trans with (1 := SU). rewrite ED. apply Rmult_le_compat_l; lra. }
  (* and the probabilities move by at most (exp(d) - 1) pi_ref each. *)
  apply Sum_le in T. rewrite Sum_scale, (proj2 P) in T. unfold TV.
  assert (0 <= Sum n (fun y => Rabs (pi_star n beta ref r y - ref y))); [| lra].
  apply Sum_nonneg. intros; apply Rabs_pos.
Qed.

(* beta -> infinity gives pi_ref *)
Theorem G8_short_limit n ref r low high eps : policy n ref ->
  (forall y, (y < n)%nat -> low <= r y <= high) -> 0 < eps ->
  exists large, 0 < large /\ forall beta, large < beta -> TV n (pi_star n beta ref r) ref <= eps.
Proof.
  intros P H He.
  assert (D : low <= high).
  { destruct (policy_somewhere n ref P) as [y [Hy _]]. specialize (H y Hy). lra. }
  assert (L : 0 < ln (1 + eps)) by (rewrite <- ln_1; apply ln_increasing; lra).
  exists ((high - low) / ln (1 + eps) + 1).
  assert (0 <= (high - low) / ln (1 + eps)).
  { apply Rmult_le_pos. lra. left; apply Rinv_0_lt_compat; auto. }
  split. lra. intros beta B.
  apply Rle_trans with (exp ((high - low) / beta) - 1). apply G8_short; auto; lra.
  assert ((high - low) / beta <= ln (1 + eps)).
  { apply Rmult_le_reg_r with beta. lra.
    replace ((high - low) / beta * beta) with (high - low) by (field; lra).
    replace (high - low) with (ln (1 + eps) * ((high - low) / ln (1 + eps))) by (field; lra).
    apply Rmult_le_compat_l; lra. }
  apply exp_le in H1. rewrite exp_ln in H1; lra.
Qed.

(* --- G8: a long leash --- *)

(* what the reference gives the responses with the best reward *)
Definition on_best (r : nat -> R) (best : R) (f : nat -> R) (y : nat) : R :=
  if Req_EM_T (r y) best then f y else 0.
Definition off_best (r : nat -> R) (best : R) (f : nat -> R) (y : nat) : R :=
  if Req_EM_T (r y) best then 0 else f y.

Section Long.
(* The best reward on the support, and the gap to the next. *)
Variables (n : nat) (beta : R) (ref r : nat -> R) (best gap : R).
Hypotheses (beta_positive : 0 < beta) (ref_policy : policy n ref).
Hypothesis gap_below : forall y, (y < n)%nat -> 0 < ref y -> r y = best \/ r y <= best - gap.
Hypothesis best_there : 0 < Sum n (on_best r best ref).
Local Notation A := (Sum n (on_best r best ref)).

(* Off the best responses each weight is at most exp(-gap/beta) of what it would be there. *)
Lemma weight_off_best y : (y < n)%nat ->
  off_best r best (fun y => ref y * exp (r y / beta)) y
    <= exp (best / beta) * exp (- gap / beta) * ref y.
Proof.
  intros Hy. pose proof (exp_pos (best / beta)). pose proof (exp_pos (- gap / beta)).
  pose proof (proj1 ref_policy y Hy) as P. unfold off_best.
  destruct (Req_EM_T (r y) best) as [E | N].
  - apply Rmult_le_pos; auto. apply Rmult_le_pos; lra.
  - destruct P as [P | <-]. 2: lra. rewrite Rmult_comm. apply Rmult_le_compat_r. lra.
    rewrite <- exp_plus. apply exp_le. replace (best / beta + - gap / beta) with
      ((best - gap) / beta) by (field; lra).
    destruct (gap_below y Hy P); [contradiction |].
    pose proof (Rinv_0_lt_compat _ beta_positive). apply Rmult_le_compat_r; lra.
Qed.

(* Z is at least its part from the best responses. *)
Lemma Z_of_best : exp (best / beta) * A <= Z n beta ref r.
Proof.
  unfold Z. rewrite <- Sum_scale. apply Sum_le. intros y Hy. unfold on_best.
  pose proof (proj1 ref_policy y Hy). pose proof (exp_pos (r y / beta)).
  destruct (Req_EM_T (r y) best) as [-> | N]. lra.
  rewrite Rmult_0_r. apply Rmult_le_pos; lra.
Qed.

(* The mass of pi* off the best responses is at most exp(-gap/beta)/pi_ref(best). *)
Theorem G8_long :
  Sum n (off_best r best (pi_star n beta ref r)) <= exp (- gap / beta) / A.
Proof.
  pose proof (Z_positive n beta ref r ref_policy) as PZ. pose proof Z_of_best as L.
  pose proof (exp_pos (best / beta)) as E0. pose proof (exp_pos (- gap / beta)) as E1.
  apply Rle_trans with (exp (best / beta) * exp (- gap / beta) / Z n beta ref r).
  - rewrite (Sum_ext _ _ (fun y => / Z n beta ref r *
      off_best r best (fun y => ref y * exp (r y / beta)) y)).
    2: { intros y Hy. unfold off_best, pi_star, Rdiv. destruct (Req_EM_T (r y) best); ring. }
    rewrite Sum_scale, Rmult_comm. apply Rmult_le_compat_r. left; apply Rinv_0_lt_compat; auto.
    rewrite <- (Rmult_1_r (_ * exp _)), <- (proj2 ref_policy), <- Sum_scale.
    apply Sum_le. apply weight_off_best.
  - apply Rmult_le_reg_r with (Z n beta ref r); auto.
    replace (exp (best / beta) * exp (- gap / beta) / Z n beta ref r * Z n beta ref r)
      with (exp (- gap / beta) / A * (exp (best / beta) * A)) by (field; lra).
    apply Rmult_le_compat_l; auto. apply Rmult_le_pos. lra. left; apply Rinv_0_lt_compat; auto.
Qed.

(* On the best responses pi* is split in proportion to pi_ref. *)
Theorem G8_split j k : r j = best -> r k = best ->
  pi_star n beta ref r j * ref k = pi_star n beta ref r k * ref j.
Proof.
  intros Ej Ek. pose proof (Z_positive n beta ref r ref_policy).
  unfold pi_star. rewrite Ej, Ek. field. lra.
Qed.
End Long.

(* Among finitely many responses there is a best reward, and a gap to the next. *)
Lemma best_exists n ref r : policy n ref -> exists best gap, 0 < gap /\
  (forall y, (y < n)%nat -> 0 < ref y -> r y = best \/ r y <= best - gap) /\
  0 < Sum n (on_best r best ref).
Proof.
  intros P.
  assert (K : forall m, (forall y, (y < m)%nat -> ~ 0 < ref y) \/ exists best gap, 0 < gap /\
    (forall y, (y < m)%nat -> 0 < ref y -> r y = best \/ r y <= best - gap) /\
    exists b, (b < m)%nat /\ 0 < ref b /\ r b = best).
  { induction m as [| m IH]. left; intros; lia.
    (* The next response matters if the reference writes it: it is better, as good or worse. *)
    destruct (Rlt_dec 0 (ref m)) as [H | H], IH as [No | [best [gap [G [U [b [Hb [B E]]]]]]]].
    - right. exists (r m), 1. split. lra. split.
      + intros y Hy Py. assert (y = m \/ (y < m)%nat) as [-> | L] by lia; auto.
        exfalso; apply (No y); auto.
      + exists m; auto.
    - right. destruct (Rtotal_order (r m) best) as [L | [Q | L]].
      + exists best, (Rmin gap (best - r m)). split. apply Rmin_pos; lra. split.
        * intros y Hy Py.
          pose proof (Rmin_l gap (best - r m)). pose proof (Rmin_r gap (best - r m)).
          assert (y = m \/ (y < m)%nat) as [-> | Ly] by lia. right; lra.
          destruct (U y Ly Py); [left | right]; lra.
        * exists b; auto.
      + exists best, gap. split; auto. split.
        * intros y Hy Py. assert (y = m \/ (y < m)%nat) as [-> | Ly] by lia; auto.
        * exists b; auto.
      + exists (r m), (r m - best). split. lra. split.
        * intros y Hy Py. assert (y = m \/ (y < m)%nat) as [-> | Ly] by lia; auto.
          right. destruct (U y Ly Py); lra.
        * exists m; auto.
    - left. intros y Hy. assert (y = m \/ (y < m)%nat) as [-> | L] by lia; auto.
    - right. exists best, gap. split; auto. split.
      + intros y Hy Py. assert (y = m \/ (y < m)%nat) as [-> | L] by lia; auto. contradiction.
      + exists b; auto. }
  destruct (policy_somewhere n ref P) as [y [Hy Py]].
  destruct (K n) as [No | [best [gap [G [U [b [Hb [B E]]]]]]]]. exfalso; apply (No y); auto.
  exists best, gap. split; auto. split; auto.
  apply Rlt_le_trans with (on_best r best ref b).
  - unfold on_best. destruct (Req_EM_T (r b) best); auto. contradiction.
  - apply Sum_term; auto. intros k Hk. unfold on_best.
    destruct (Req_EM_T (r k) best). apply (proj1 P); auto. lra.
Qed.

(* The limit beta -> 0+: the mass off the best responses vanishes. *)
Theorem G8_long_limit n ref r : policy n ref -> exists best,
  (forall y, (y < n)%nat -> 0 < ref y -> r y <= best) /\
  0 < Sum n (on_best r best ref) /\
  forall eps, 0 < eps -> exists small, 0 < small /\ forall beta, 0 < beta < small ->
    Sum n (off_best r best (pi_star n beta ref r)) <= eps.
Proof.
  intros P. destruct (best_exists n ref r P) as [best [gap [G [H A]]]].
  exists best. split. intros y Hy Py; destruct (H y Hy Py); lra.
  split; auto. intros eps He. set (a := Sum n (on_best r best ref)) in *.
  (* exp(-gap/beta)/a <= eps as soon as beta < gap/(|log(eps a)| + 1) *)
  set (m := Rabs (ln (eps * a)) + 1).
  assert (M : 0 < m) by (unfold m; pose proof (Rabs_pos (ln (eps * a))); lra).
  exists (gap / m). split. apply Rdiv_lt_0_compat; auto. intros beta [B0 B].
  apply Rle_trans with (1 := G8_long n beta ref r best gap B0 P H A). fold a.
  apply Rmult_le_reg_r with a; auto. replace (exp (- gap / beta) / a * a) with
    (exp (- gap / beta)) by (field; lra).
  rewrite <- (exp_ln (eps * a)) by (apply Rmult_lt_0_compat; auto). apply exp_le.
  assert (m <= gap / beta).
  { apply Rmult_le_reg_r with beta; auto. replace (gap / beta * beta) with gap by (field; lra).
    apply Rmult_lt_compat_l with (r := m) in B; auto.
    replace (m * (gap / m)) with gap in B by (field; lra). lra. }
  replace (- gap / beta) with (- (gap / beta)) by (field; lra).
  pose proof (Rle_abs (- ln (eps * a))) as L. rewrite Rabs_Ropp in L. unfold m in *. lra.
Qed.

(* --- M2: the leash limits the odds --- *)

(* The odds of a set of responses, given by its members, have grown at most exp(R/beta)-fold at the
   optimum, R the range of the rewards. Odds are written as products: a set may have no mass. *)
Theorem M2 n beta ref r low high (member : nat -> bool) : 0 < beta -> policy n ref ->
  (forall y, (y < n)%nat -> low <= r y <= high) ->
  let inside := fun p => Sum n (fun y => if member y then p y else 0) in
  let outside := fun p => Sum n (fun y => if member y then 0 else p y) in
  inside (pi_star n beta ref r) * outside ref
    <= exp ((high - low) / beta) * (inside ref * outside (pi_star n beta ref r)).
Proof.
  intros B P H inside outside. pose proof (Z_positive n beta ref r P) as PZ.
  pose proof (Rinv_0_lt_compat _ B). pose proof (Rinv_0_lt_compat _ PZ).
  pose proof (exp_pos (low / beta)). pose proof (exp_pos (high / beta)).
  (* Inside, pi* is at most exp(high/beta)/Z times the reference, *)
  assert (U : inside (pi_star n beta ref r) <= exp (high / beta) / Z n beta ref r * inside ref).
  { unfold inside. rewrite <- Sum_scale. apply Sum_le. intros y Hy. destruct (member y). 2: lra.
    unfold pi_star, Rdiv. pose proof (proj1 P y Hy).
    replace (exp (high * / beta) * / Z n beta ref r * ref y) with
      (ref y * exp (high * / beta) * / Z n beta ref r) by ring.
    apply Rmult_le_compat_r. lra. apply Rmult_le_compat_l; auto. apply exp_le.
    apply Rmult_le_compat_r. lra. apply H; auto. }
  (* outside at least exp(low/beta)/Z times. *)
  assert (L : exp (low / beta) / Z n beta ref r * outside ref <= outside (pi_star n beta ref r)).
  { unfold outside. rewrite <- Sum_scale. apply Sum_le. intros y Hy. destruct (member y). lra.
    unfold pi_star, Rdiv. pose proof (proj1 P y Hy).
    replace (exp (low * / beta) * / Z n beta ref r * ref y) with
      (ref y * exp (low * / beta) * / Z n beta ref r) by ring.
    apply Rmult_le_compat_r. lra. apply Rmult_le_compat_l; auto. apply exp_le.
    apply Rmult_le_compat_r. lra. apply H; auto. }
  assert (N : forall f : nat -> R, (forall y, (y < n)%nat -> 0 <= f y) ->
    0 <= inside f /\ 0 <= outside f).
  { intros f F. split; apply Sum_nonneg; intros y Hy; destruct (member y); auto; lra. }
  destruct (N ref (proj1 P)) as [NI NO].
  assert (E : exp ((high - low) / beta) * (exp (low / beta) / Z n beta ref r)
    = exp (high / beta) / Z n beta ref r).
  { unfold Rdiv. rewrite <- Rmult_assoc, <- exp_plus. do 2 f_equal. field. lra. }
  apply Rle_trans with (exp (high / beta) / Z n beta ref r * inside ref * outside ref).
  apply Rmult_le_compat_r; auto.
  rewrite <- E. replace (exp ((high - low) / beta) * (exp (low / beta) / Z n beta ref r)
    * inside ref * outside ref) with (exp ((high - low) / beta) *
    (inside ref * (exp (low / beta) / Z n beta ref r * outside ref))) by ring.
  apply Rmult_le_compat_l. left; apply exp_pos. apply Rmult_le_compat_l; auto.
Qed.

(* --- G10: the derivatives in beta --- *)

Section Derivatives.
Variables (n : nat) (ref r : nat -> R).
Hypothesis ref_policy : policy n ref.

(* exp(a t) has slope a exp(a t) *)
Lemma slope_of_exp a t : derivable_pt_lim (fun s => exp (a * s)) t (a * exp (a * t)).
Proof.
  apply derivative_ext with (fun s => exp (a * s + 0)). intros; f_equal; ring.
  apply derivative_value with (exp (a * t + 0) * a). apply derivative_affine.
  apply derivable_pt_lim_exp. rewrite Rplus_0_r. ring.
Qed.

(* sum pi_ref f exp(r t), a sum that t = 1/beta differentiates *)
Definition moment (f : nat -> R) (t : R) : R := Sum n (fun y => ref y * f y * exp (r y * t)).

Lemma slope_of_moment f t :
  derivable_pt_lim (moment f) t (moment (fun y => f y * r y) t).
Proof.
  unfold moment. apply (derivative_Sum n (fun y s => ref y * f y * exp (r y * s))).
  intros y Hy. apply derivative_value with (ref y * f y * (r y * exp (r y * t))). 2: ring.
  apply derivative_scale. apply slope_of_exp.
Qed.

Lemma moment_one t : moment (fun _ => 1) t = Z n (/ t) ref r.
Proof. apply Sum_ext. intros. unfold Rdiv. rewrite Rinv_inv. ring. Qed.

Lemma moment_positive t : 0 < moment (fun _ => 1) t.
Proof. rewrite moment_one. apply Z_positive; auto. Qed.

(* E_pi*[f] is a quotient of two such sums. *)
Lemma mean_as_moments f t : mean n (pi_star n (/ t) ref r) f = moment f t / moment (fun _ => 1) t.
Proof.
  pose proof (moment_positive t). rewrite moment_one in *. unfold mean, moment, pi_star, Rdiv.
  rewrite Rmult_comm, <- Sum_scale. apply Sum_ext. intros. rewrite Rinv_inv. ring.
Qed.

(* the variance of f under p *)
Definition variance (p f : nat -> R) : R := mean n p (fun y => (f y - mean n p f) ^ 2).

Lemma variance_as_moments p f : Sum n p = 1 ->
  variance p f = mean n p (fun y => f y * f y) - mean n p f * mean n p f.
Proof.
  intros P. unfold variance. set (m := mean n p f).
  replace (mean n p (fun y => f y * f y) - m * m) with
    (mean n p (fun y => f y * f y) + ((-2 * m) * mean n p f + m * m * Sum n p))
    by (rewrite P; fold m; ring).
  unfold mean. rewrite <- !Sum_scale, <- !Sum_plus. apply Sum_ext. intros; ring.
Qed.

(* G10: the slope of E_pi*[r] in t = 1/beta is the variance of r under pi*, *)
Theorem G10_variance t : derivable_pt_lim (fun s => mean n (pi_star n (/ s) ref r) r) t
  (variance (pi_star n (/ t) ref r) r).
Proof.
  apply derivative_ext with (fun s => moment r s / moment (fun _ => 1) s).
  intros; symmetry; apply mean_as_moments.
  pose proof (moment_positive t) as P.
  rewrite variance_as_moments by apply G4, ref_policy. rewrite !mean_as_moments.
  eapply derivative_value.
  - apply (derivable_pt_lim_div (moment r) (moment (fun _ => 1))).
    apply slope_of_moment. apply slope_of_moment. lra.
  - cbv beta. replace (moment (fun y => 1 * r y) t) with (moment r t)
      by (apply Sum_ext; intros; ring).
    unfold Rsqr. field. lra.
Qed.

(* which is zero only if r is constant on the support of pi_ref, *)
Theorem G10_zero beta : 0 <= variance (pi_star n beta ref r) r /\
  (variance (pi_star n beta ref r) r = 0 <->
   forall j k, (j < n)%nat -> (k < n)%nat -> 0 < ref j -> 0 < ref k -> r j = r k).
Proof.
  set (star := pi_star n beta ref r). pose proof (G4 n beta ref r ref_policy) as P. fold star in P.
  assert (T : forall y, (y < n)%nat -> 0 <= star y * (r y - mean n star r) ^ 2).
  { intros. apply Rmult_le_pos. apply (proj1 P); auto. apply pow2_ge_0. }
  split. apply Sum_nonneg; auto. split.
  - intros E. assert (C : forall y, (y < n)%nat -> 0 < ref y -> r y = mean n star r).
    { intros y Hy H. apply (star_positive n beta ref r ref_policy) in H. fold star in H.
      pose proof (Sum_all_zero n _ T E y Hy) as V. simpl in V.
      apply Rmult_integral in V as [V | V]. lra.
      rewrite Rmult_1_r in V. apply Rmult_integral in V as [V | V]; lra. }
    intros. rewrite (C j), (C k); auto.
  - (* A constant reward is its own mean. *)
    intros C. unfold variance, mean. rewrite (Sum_ext _ _ (fun _ => 0)). apply Sum_zero.
    destruct (policy_somewhere n ref ref_policy) as [b [Hb B]].
    assert (M : Sum n (fun y => star y * r y) = r b).
    { rewrite (Sum_ext _ _ (fun y => r b * star y)). rewrite Sum_scale, (proj2 P). ring.
      intros y Hy. destruct (proj1 ref_policy y Hy) as [H | H].
      rewrite (C y b) by auto. ring.
      replace (star y) with 0. ring. symmetry; apply G6; auto. }
    intros y Hy. rewrite M. destruct (proj1 ref_policy y Hy) as [H | H].
    rewrite (C y b) by auto. ring.
    replace (star y) with 0. ring. symmetry; apply G6; auto.
Qed.

(* and the slope of J* = beta log Z in beta is -KL(pi* || pi_ref). *)
Theorem G10_envelope beta : 0 < beta ->
  derivable_pt_lim (fun b => b * ln (Z n b ref r)) beta (- KL n (pi_star n beta ref r) ref).
Proof.
  intros B. pose proof (Z_positive n beta ref r ref_policy) as PZ.
  pose proof (G4 n beta ref r ref_policy) as P.
  (* By log pi*/pi_ref = r/beta - log Z the divergence is E_pi*[r]/beta - log Z. *)
  assert (K : KL n (pi_star n beta ref r) ref
    = mean n (pi_star n beta ref r) r / beta - ln (Z n beta ref r)).
  { replace (mean n (pi_star n beta ref r) r / beta - ln (Z n beta ref r)) with
      (/ beta * mean n (pi_star n beta ref r) r
       + (- ln (Z n beta ref r)) * Sum n (pi_star n beta ref r)) by (rewrite (proj2 P); field; lra).
    unfold KL, mean. rewrite <- !Sum_scale, <- Sum_plus. apply Sum_ext. intros y Hy.
    destruct (proj1 ref_policy y Hy) as [H | H].
    - rewrite log_ratio_star by auto. field. lra.
    - replace (pi_star n beta ref r y) with 0. ring. symmetry; apply G6; auto. }
  rewrite K.
  assert (M : mean n (pi_star n beta ref r) r = moment r (/ beta) / Z n beta ref r).
  { rewrite <- (Rinv_inv beta) at 1. rewrite mean_as_moments, moment_one, Rinv_inv. auto. }
  rewrite M.
  (* The product rule, and the chain rule for log Z(1/beta). *)
  eapply derivative_value.
  - apply (derivable_pt_lim_mult (fun b => b) (fun b => ln (Z n b ref r))).
    apply derivable_pt_lim_id.
    apply derivative_ext with (fun b => ln (moment (fun _ => 1) (/ b))).
    { intros. rewrite moment_one, Rinv_inv. auto. }
    apply (derivable_pt_lim_comp (fun b => / b) (fun t => ln (moment (fun _ => 1) t))).
    + apply derivative_ext with (fun b => 1 / b). intros; unfold Rdiv; ring.
      apply (derivable_pt_lim_div (fun _ => 1) (fun b => b)).
      apply derivable_pt_lim_const. apply derivable_pt_lim_id. lra.
    + apply (derivable_pt_lim_comp (moment (fun _ => 1)) ln).
      apply slope_of_moment. apply derivable_pt_lim_ln. apply moment_positive.
  - cbv beta. rewrite moment_one, Rinv_inv.
    replace (moment (fun y => 1 * r y) (/ beta)) with (moment r (/ beta))
      by (apply Sum_ext; intros; ring).
    unfold Rsqr. field. lra.
Qed.
End Derivatives.
